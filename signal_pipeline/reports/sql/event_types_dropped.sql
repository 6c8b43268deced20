-- The event types of which something was received and not stored. What bots send is no use.
select distinct event_type
from signal.books
where outcome = 'dropped' and reason <> 'bot' and events > 0 and day >= %(first)s
