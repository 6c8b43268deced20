-- The days among those asked for that hold fewer raw events than the books say, and by how many.
-- Each day asked for is counted.
select d.day, b.expected - e.events
from signal.days as d
inner join signal.expected_events as b on b.day = d.day
cross join lateral (
    select count(*) as events
    from signal.events
    where
        created_at >= d.day::timestamp at time zone 'UTC'
        and created_at < (d.day + 1)::timestamp at time zone 'UTC'
) as e
where
    d.state = 'open'
    and d.day = any(%(days)s)
    and e.events < b.expected
