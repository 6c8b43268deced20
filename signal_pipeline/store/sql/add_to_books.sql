insert into signal.books as b (day, app_name, event_type, outcome, reason, events)
select day, app_name, event_type, outcome, reason, events
from unnest(%s::date[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[])
    as n (day, app_name, event_type, outcome, reason, events)
order by day, app_name, event_type, outcome, reason
on conflict (day, app_name, event_type, outcome, reason)
do update set events = b.events + excluded.events
