delete from asset_event_tags as t
where t.event_timestamp < %(before)s and not exists (select from event_logs as e where e.id = t.event_id)
