-- One scan of the day, under its lock, on which both the proof and the receipt rest.
with counted as materialized (
    select count(*) as events, min(created_at) as first_event, max(created_at) as last_event
    from signal.events
    where created_at >= %(start)s and created_at < %(end)s
),
known as materialized (
    select count(*) as keys from signal.event_keys where day = %(day)s
)
select
    e.events as raw_events,
    e.first_event,
    e.last_event,
    k.keys,
    b.accepted,
    b.erased,
    b.expected,
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
            where day = d.day
        ),
        '{}'
    ) as builds
from signal.days as d
inner join signal.expected_events as b on b.day = d.day
cross join counted as e
cross join known as k
where d.day = %(day)s
