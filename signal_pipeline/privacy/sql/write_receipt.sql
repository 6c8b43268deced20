insert into signal.receipts (
    day, raw_events, keys, accepted, erased, first_event, last_event, version, bytes, rollups,
    incomplete, reason
)
values (
    %(day)s, %(raw_events)s, %(keys)s, %(accepted)s, %(erased)s, %(first_event)s, %(last_event)s, %(version)s,
    coalesce(pg_total_relation_size(to_regclass(%(partition)s)), 0), %(rollups)s, %(incomplete)s, %(reason)s
)
