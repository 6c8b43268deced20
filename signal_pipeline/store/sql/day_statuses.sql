select
    d.day,
    d.version,
    d.state,
    d.incomplete,
    d.changed_at,
    case when d.state = 'purged' then 0 else coalesce(b.events, 0) end as events,
    coalesce(
        (
            select jsonb_object_agg(u.rollup, jsonb_build_array(u.version, u.model_checksum))
            from signal.builds as u
            where u.day = d.day
        ),
        '{}'
    ) as builds
from signal.days as d
left join lateral (
    select sum(case outcome when 'accepted' then b.events when 'erased' then -b.events end)::bigint
        as events
    from signal.books as b
    where b.day = d.day and b.outcome in ('accepted', 'erased')
) as b on true
where
    (%(first)s::date is null or d.day >= %(first)s)
    and (%(last)s::date is null or d.day <= %(last)s)
order by d.day
