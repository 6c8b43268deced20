-- Keys in key order: two writers that bring the same ids in different orders would deadlock.
-- Returns the ids that were known already.
with fresh as (
    insert into signal.event_keys (client_event_id, day)
    select client_event_id, day from staged_keys order by client_event_id
    on conflict (client_event_id) do nothing
    returning client_event_id
)
select s.client_event_id::text
from staged_keys as s
left join fresh as f using (client_event_id)
where f.client_event_id is null
