-- Keys in key order: two writers that bring the same ids in different orders would deadlock.
-- Returns the ids that were known already.
with fresh as (
    insert into signal.event_keys (client_event_id, day)
    select client_event_id, day from stage order by client_event_id
    on conflict (client_event_id) do nothing
    returning client_event_id
),
stored as (
    insert into signal.events (
        id, created_at, app_name, event_type, route, entity_type, entity_id, user_hash,
        session_id, device_type, browser_family, os_family, client_event_id, description
    )
    select
        s.id, s.created_at, s.app_name, s.event_type, s.route, s.entity_type, s.entity_id, s.user_hash,
        s.session_id, s.device_type, s.browser_family, s.os_family, s.client_event_id, s.description
    from stage as s
    inner join fresh using (client_event_id)
)
select s.client_event_id::text
from stage as s
left join fresh as f using (client_event_id)
where f.client_event_id is null
