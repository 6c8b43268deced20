-- The event types of which something was received and not stored, by app. What bots send is no use.
select distinct app_name, event_type
from signal.books
where
    outcome = 'dropped'
    and reason <> 'bot'
    and events > 0
    and day between %(first)s and %(last)s
    and (%(app)s::text is null or app_name = %(app)s)
