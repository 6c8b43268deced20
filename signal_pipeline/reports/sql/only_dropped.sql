-- Whether events of these days arrived, and all of them were dropped. What bots send is no use.
select
    coalesce(bool_or(outcome = 'dropped' and reason <> 'bot'), false)
    and not coalesce(bool_or(outcome = 'accepted'), false)
from signal.books
where
    events > 0
    and day between %(first)s and %(last)s
    and (%(app_name)s::text is null or app_name = %(app_name)s)
    and (%(event_type)s::text is null or event_type = %(event_type)s)
