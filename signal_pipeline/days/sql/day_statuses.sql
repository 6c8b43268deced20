select
    d.day,
    d.version,
    d.state,
    d.incomplete,
    d.changed_at,
    b.expected as events,
    coalesce(u.builds, '{}') as builds,
    coalesce(u.seconds, 0) as build_seconds
from signal.days as d
inner join signal.expected_events as b on b.day = d.day
left join lateral (
    select
        jsonb_object_agg(rollup, jsonb_build_array(version, model_checksum, built_at)) as builds,
        max(seconds) as seconds
    from signal.builds
    where day = d.day
) as u on true
where
    (%(first)s::date is null or d.day >= %(first)s)
    and (%(last)s::date is null or d.day <= %(last)s)
    and (not %(open_only)s or d.state = 'open')
order by d.day
