-- Runs of which no event is left; their tags go with them.
delete from runs as r
where
    r.status in ('SUCCESS', 'FAILURE', 'CANCELED')
    and r.update_timestamp < %(before)s
    and not exists (select from event_logs as e where e.run_id = r.run_id)
