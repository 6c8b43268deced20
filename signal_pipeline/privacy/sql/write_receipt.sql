insert into signal.receipts (
    day, raw_events, keys, accepted, erased, first_event, last_event, version, bytes, rollups,
    incomplete, reason
)
values (
    %(day)s, %(raw_events)s, %(keys)s, %(accepted)s, %(erased)s, %(first_event)s, %(last_event)s, %(version)s,
    %(bytes)s, %(rollups)s, %(incomplete)s, %(reason)s
)
