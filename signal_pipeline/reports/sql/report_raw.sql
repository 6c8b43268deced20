-- Users are first counted per day, so that the sum over days is a sum of daily users and nothing
-- else.
with window_events as (
    select {columns}, (created_at at time zone 'UTC')::date as day, user_hash, session_id
    from signal.events
    where created_at >= %(start)s and created_at < %(end)s {filters}
),
users_per_day as (
    select {keys}, day, count(distinct user_hash) as users
    from window_events
    group by {keys}, day
),
users as (
    select {keys}, sum(users)::bigint as users from users_per_day group by {keys}
),
counts as (
    select {keys}, count(*) as events, count(distinct session_id) as sessions
    from window_events
    group by {keys}
)
select {keys}, counts.events, users.users as {users_name}, counts.sessions
from counts
inner join users using ({keys})
order by events desc, {keys}
