-- Open days whose raw events differ from the books, or from what a build of their present version
-- counted.
with counted as materialized ({counted})
select d.day, b.expected, e.events, u.counted
from signal.days as d
inner join signal.expected_events as b on b.day = d.day
inner join counted as e on e.day = d.day
cross join lateral (
    select min(raw_events) filter (where raw_events <> e.events) as counted
    from signal.builds
    where day = d.day and version = d.version
) as u
where d.state = 'open' and (b.expected <> e.events or u.counted is not null)
order by d.day
