-- Counts the same outcomes twice: by the day of the event, and by the day of its receipt.
-- Every writer locks the rows of both tables in key order. The rows of the books come first:
-- PostgreSQL runs the main statement before a WITH whose result is not used.
with outcomes as (
    select day, app_name, event_type, outcome, reason, events
    from unnest(%s::date[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[])
        as n (day, app_name, event_type, outcome, reason, events)
),
received as (
    insert into signal.intake as i (received_on, app_name, outcome, reason, events)
    select %s::date, app_name, outcome, reason, sum(events)
    from outcomes
    group by app_name, outcome, reason
    order by app_name, outcome, reason
    on conflict (received_on, app_name, outcome, reason)
    do update set events = i.events + excluded.events, changed_at = clock_timestamp()
)
insert into signal.books as b (day, app_name, event_type, outcome, reason, events)
select day, app_name, event_type, outcome, reason, events
from outcomes
order by day, app_name, event_type, outcome, reason
on conflict (day, app_name, event_type, outcome, reason)
do update set events = b.events + excluded.events
