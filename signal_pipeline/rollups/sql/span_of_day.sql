select {day}::date as day, min(created_at) as first_event, max(created_at) as last_event
from signal.events
where created_at >= {start} and created_at < {end}
