-- Returns the ids that were already known.
-- Keys are inserted in key order: two writers with the same ids in different orders would deadlock.
-- EXCEPT, because a join would be planned as nested loops over arrays of unknown length. It is run
-- only if fewer keys were inserted than given.
with fresh as (
    insert into signal.event_keys (client_event_id, day)
    select client_event_id, day
    from unnest(%(ids)s::uuid[], %(days)s::date[]) as n (client_event_id, day)
    order by client_event_id
    on conflict (client_event_id) do nothing
    returning client_event_id
)
select client_event_id::text
from (
    select unnest(%(ids)s::uuid[]) as client_event_id
    except
    select client_event_id from fresh
) as known
where (select count(*) from fresh) < cardinality(%(ids)s::uuid[])
