-- For each app and day: what was received, how many of it were bots, how often each accepted event
-- came, and whether the day is looked at. A day is looked at if it is recent, or if bots were added
-- to it recently. The history of the first such day is returned too.
with added as (
    select app_name, day
    from signal.bots
    where changed_at >= %(first)s::date
    group by app_name, day
),
looked_at as (
    select app_name, day from added where day <= %(last)s
    union
    select app_name, day from signal.books where day between %(first)s and %(last)s
)
select
    b.app_name,
    b.day,
    sum(b.events)::bigint as received,
    coalesce(sum(b.events) filter (where b.reason = 'bot'), 0)::bigint as bots,
    coalesce(
        sum(b.events) filter (where b.outcome in ('accepted', 'duplicate'))::float8
        / nullif(sum(b.events) filter (where b.outcome = 'accepted'), 0)::float8,
        1
    ) as sends,
    exists (select from looked_at as l where l.app_name = b.app_name and l.day = b.day)
        as is_looked_at
from signal.books as b
where
    b.day between (select min(day) - %(history)s::int from looked_at) and %(last)s
    and b.outcome <> 'erased'
    and b.app_name <> '(unknown)'
group by b.app_name, b.day
having sum(b.events) > 0
order by b.app_name, b.day
