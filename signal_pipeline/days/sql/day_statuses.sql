select
    d.day,
    d.version,
    d.state,
    d.incomplete,
    d.changed_at,
    case when d.state = 'purged' then 0 else coalesce(b.events, 0) end as events,
    coalesce(u.builds, '{}') as builds,
    u.built_at,
    coalesce(u.seconds, 0) as build_seconds
from signal.days as d
left join lateral (
    select sum(case outcome when 'accepted' then b.events when 'erased' then -b.events end)::bigint
        as events
    from signal.books as b
    where b.day = d.day and b.outcome in ('accepted', 'erased')
) as b on true
left join lateral (
    select
        jsonb_object_agg(rollup, jsonb_build_array(version, model_checksum)) as builds,
        max(built_at) as built_at,
        max(seconds) as seconds
    from signal.builds
    where day = d.day
) as u on true
where
    (%(first)s::date is null or d.day >= %(first)s)
    and (%(last)s::date is null or d.day <= %(last)s)
order by d.day
