insert into signal.receipts (
    day, raw_events, keys, accepted, erased, first_event, last_event, version, bytes, rollups,
    incomplete, reason
)
select
    d.day,
    e.events,
    (select count(*) from signal.event_keys where day = d.day),
    (select coalesce(sum(events), 0) from signal.books where day = d.day and outcome = 'accepted'),
    (select coalesce(sum(events), 0) from signal.books where day = d.day and outcome = 'erased'),
    e.first_event,
    e.last_event,
    d.version,
    coalesce(pg_total_relation_size(to_regclass(%(partition)s)), 0),
    %(rollups)s,
    %(incomplete)s,
    %(reason)s
from signal.days as d
cross join lateral (
    select count(*) as events, min(created_at) as first_event, max(created_at) as last_event
    from signal.events
    where
        created_at >= d.day::timestamp at time zone 'UTC'
        and created_at < (d.day + 1)::timestamp at time zone 'UTC'
) as e
where d.day = %(day)s
