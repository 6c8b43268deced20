-- The inner steps keep each user of a day and each session once, in hash tables; count(distinct)
-- would sort all events. Users are kept once per day, so that their number is a sum of daily users
-- and nothing else. Both steps read the table: a stored copy of the events costs more.
with window_events as not materialized (
    select {columns}, (created_at at time zone 'UTC')::date as day, user_hash, session_id
    from signal.events
    where created_at >= %(start)s and created_at < %(end)s {filters}
),
daily_users as (
    select {keys}, day, user_hash from window_events group by {keys}, day, user_hash
),
users as (
    select {keys}, count(*) as users from daily_users group by {keys}
),
each_session as (
    select {keys}, session_id, count(*) as events from window_events group by {keys}, session_id
),
counts as (
    select {keys}, sum(events)::bigint as events, count(session_id) as sessions
    from each_session
    group by {keys}
)
select {keys}, counts.events, users.users as {users_name}, counts.sessions
from counts
inner join users using ({keys})
order by events desc, {keys}
