-- Open days that have a build of their present version for each rollup, and purged days with
-- whatever was built of them, which is final. One statement reads days, builds and raw events, so
-- that the raw events are those that the build read.
with spans as materialized ({spans})
select
    d.day, d.version, b.raw_events, e.first_event, e.last_event, b.rows, b.seconds,
    case when d.incomplete then 'incomplete' else d.state end as state
from signal.days as d
cross join lateral (
    select
        count(*) as rollups, max(raw_events) as raw_events, jsonb_object_agg(rollup, rows) as rows,
        max(seconds) as seconds
    from signal.builds
    where
        day = d.day and rollup = any(%(rollups)s)
        and (version = d.version or d.state = 'purged')
) as b
inner join spans as e on e.day = d.day
where
    b.rollups > 0
    and (d.state = 'purged' or b.rollups = cardinality(%(rollups)s::text[]))
order by d.day
