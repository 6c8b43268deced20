-- The last of these days on which the books have an event of each type, built or not.
select event_type, max(day) as last_day
from signal.books
where outcome = 'accepted' and events > 0 and day = any(%(days)s)
group by event_type
