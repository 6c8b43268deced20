with shares as (
    select
        g.day,
        g.app_name,
        (g.missing + g.invalid)::float8 / greatest(sum(b.events), 1)::float8 as share
    from signal.address_gaps as g
    left join signal.books as b
        on b.day = g.day and b.app_name = g.app_name and b.outcome = 'accepted'
    where g.day between %(first)s and %(last)s
    group by g.day, g.app_name, g.missing, g.invalid
)
select
    d.day,
    coalesce((select jsonb_object_agg(s.app_name, s.share) from shares as s where s.day = d.day), '{}')
        as without_address,
    (select count(distinct k.key_id) from signal.day_keys as k where k.day = d.day) as keys,
    (select count(distinct k.hash_rules) from signal.day_keys as k where k.day = d.day) as hash_rules
from signal.days as d
where d.day between %(first)s and %(last)s
order by d.day
