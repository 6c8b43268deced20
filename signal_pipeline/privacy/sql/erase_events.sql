-- Runs under the locks of the day. The keys stay, so that a replay cannot bring the events back.
with gone as (
    delete from signal.events
    where created_at >= %(start)s and created_at < %(end)s and {condition}
    returning app_name, event_type
),
booked as (
    insert into signal.books as b (day, app_name, event_type, outcome, events)
    select %(day)s::date, app_name, event_type, 'erased', count(*)
    from gone
    group by app_name, event_type
    on conflict (day, app_name, event_type, outcome, reason)
    do update set events = b.events + excluded.events
)
select count(*) from gone
