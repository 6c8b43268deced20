with accepted as (
    select day, app_name, sum(events) as events
    from signal.books
    where day between %(first)s and %(last)s and outcome = 'accepted'
    group by day, app_name
),
shares as (
    select
        g.day,
        jsonb_object_agg(
            g.app_name, (g.missing + g.invalid)::float8 / greatest(a.events, 1)::float8
        ) as without_address
    from signal.address_gaps as g
    left join accepted as a on a.day = g.day and a.app_name = g.app_name
    where g.day between %(first)s and %(last)s
    group by g.day
),
hashed as (
    select day, count(distinct key_id) as keys, count(distinct hash_rules) as hash_rules
    from signal.day_keys
    where day between %(first)s and %(last)s
    group by day
)
select
    d.day,
    coalesce(s.without_address, '{}') as without_address,
    coalesce(h.keys, 0) as keys,
    coalesce(h.hash_rules, 0) as hash_rules
from signal.days as d
left join shares as s on s.day = d.day
left join hashed as h on h.day = d.day
where d.day between %(first)s and %(last)s
order by d.day
