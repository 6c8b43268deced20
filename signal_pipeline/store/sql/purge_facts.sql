select
    (
        select count(*)
        from signal.events
        where
            created_at >= %(day)s::date::timestamp at time zone 'UTC'
            and created_at < (%(day)s::date + 1)::timestamp at time zone 'UTC'
    ) as raw_events,
    (select count(*) from signal.event_keys where day = %(day)s) as keys,
    (
        select coalesce(sum(events), 0)::bigint
        from signal.books
        where day = %(day)s and outcome = 'accepted'
    ) as accepted,
    (
        select coalesce(sum(events), 0)::bigint
        from signal.books
        where day = %(day)s and outcome = 'erased'
    ) as erased,
    d.version,
    coalesce(
        (
            select jsonb_object_agg(
                rollup,
                jsonb_build_object(
                    'version', version,
                    'checksum', model_checksum,
                    'rows', rows,
                    'raw_events', raw_events,
                    'built_at', built_at
                )
            )
            from signal.builds
            where day = %(day)s
        ),
        '{}'
    ) as builds
from signal.days as d
where d.day = %(day)s
