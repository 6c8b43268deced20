select
    day, purged_at, raw_events, keys, first_event, last_event, version, bytes, incomplete, reason
from signal.receipts
order by day
