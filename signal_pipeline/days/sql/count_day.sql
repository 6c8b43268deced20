select {day}::date as day, count(*) as events
from signal.events
where created_at >= {start} and created_at < {end}
