-- Merges the newest events of each app and type, read from the end of its index, so that no day is
-- read and sorted whole.
select e.*
from (
    select distinct app_name, event_type
    from signal.books
    where day = %(day)s and outcome = 'accepted'
) as kind
cross join lateral (
    select
        id, created_at, app_name, event_type, route, entity_type, entity_id, user_hash, session_id,
        device_type, browser_family, os_family, client_event_id, description::text
    from signal.events
    where
        app_name = kind.app_name and event_type = kind.event_type
        and created_at >= %(start)s and created_at < %(end)s {filters}
    order by created_at desc, id desc
    limit %(limit)s
) as e
order by e.created_at desc, e.id desc
limit %(limit)s
