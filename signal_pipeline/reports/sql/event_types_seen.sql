select
    event_type,
    sum(events)::bigint as events,
    max(activity_date) as last_day
from signal.daily_app_activity
where
    event_type <> '(all)'
    and events > 0
group by event_type
