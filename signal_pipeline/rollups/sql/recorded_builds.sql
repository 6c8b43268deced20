-- Open days with a build of their present version for each rollup; in one snapshot, so that the raw events are the ones read.
select d.day, d.version, b.raw_events, e.first_event, e.last_event, b.rows, b.seconds
from signal.days as d
cross join lateral (
    select
        count(*) as rollups, max(raw_events) as raw_events, jsonb_object_agg(rollup, rows) as rows,
        max(seconds) as seconds
    from signal.builds
    where day = d.day and version = d.version and rollup = any(%(rollups)s)
) as b
cross join lateral (
    select min(created_at) as first_event, max(created_at) as last_event
    from signal.events
    where
        created_at >= d.day::timestamp at time zone 'UTC'
        and created_at < (d.day + 1)::timestamp at time zone 'UTC'
) as e
where d.state = 'open' and d.day = any(%(days)s) and b.rollups = cardinality(%(rollups)s::text[])
order by d.day
