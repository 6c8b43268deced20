-- Activity per app, by event type and over all event types.
-- The '(all)' rows are computed, not summed: distinct counts do not add up.
select
    cast(cast($1 as timestamptz) at time zone 'UTC' as date) as activity_date,
    app_name,
    event_type,
    count(*) as events,
    count(distinct user_hash) as users,
    count(distinct session_id) as sessions
from signal.events
where
    created_at >= $1
    and created_at < $2
group by
    app_name,
    event_type

union all

select
    cast(cast($1 as timestamptz) at time zone 'UTC' as date) as activity_date,
    app_name,
    '(all)' as event_type,
    count(*) as events,
    count(distinct user_hash) as users,
    count(distinct session_id) as sessions
from signal.events
where
    created_at >= $1
    and created_at < $2
group by
    app_name
