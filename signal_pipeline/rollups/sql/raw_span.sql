-- The number of a day's events ($1 to $2), and the times of the first and the last. Both engines
-- run this text.
select count(*) as raw_events, min(created_at) as first_event, max(created_at) as last_event
from signal.events
where created_at >= $1 and created_at < $2
