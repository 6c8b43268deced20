select
    id, created_at, app_name, event_type, route, entity_type, entity_id, user_hash, session_id,
    device_type, browser_family, os_family, client_event_id, description::text
from signal.events
where created_at >= %(start)s and created_at < %(end)s {filters}
order by created_at desc, id desc
limit %(limit)s
