-- The events of a day ($1 to $2) in number and time. Both engines run this text.
select count(*) as raw_events, min(created_at) as first_event, max(created_at) as last_event
from signal.events
where created_at >= $1 and created_at < $2
