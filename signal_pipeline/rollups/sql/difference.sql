-- Compares the stored rows of a day with those of a shadow. The keys of a rollup are never null.
select
    count(stored.activity_date) as stored_rows,
    count(computed.activity_date) as computed_rows,
    count(*) filter (where stored.activity_date is null) as added,
    count(*) filter (where computed.activity_date is null) as removed,
    count(*) filter (
        where
            stored.activity_date is not null
            and computed.activity_date is not null
            and ({stored_measures}) is distinct from ({computed_measures})
    ) as changed,
    coalesce(sum(stored.events) filter (where event_type = '(all)'), 0)::bigint as stored_events,
    coalesce(sum(computed.events) filter (where event_type = '(all)'), 0)::bigint as computed_events
from (select * from {stored} where activity_date = %s) as stored
full join {shadow} as computed using ({grain})
