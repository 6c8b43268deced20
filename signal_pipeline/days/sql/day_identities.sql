-- Counts only: no hash and no session leaves this query.
with day_events as (
    select (created_at at time zone 'UTC')::date as day, user_hash, session_id
    from signal.events
    where created_at >= %(start)s and created_at < %(end)s
),
per_hash as (
    select day, user_hash, count(*) as events, count(distinct session_id) as sessions
    from day_events
    group by day, user_hash
),
per_session as (
    select day, count(distinct user_hash) as hashes
    from day_events
    where session_id is not null
    group by day, session_id
)
select
    day,
    sum(events)::bigint as events,
    count(*) as users,
    max(events)::float8 / sum(events)::float8 as top_share,
    max(sessions) as top_sessions,
    avg(sessions)::float8 as sessions_per_hash,
    coalesce((select avg(hashes) from per_session as s where s.day = h.day), 0)::float8 as hashes_per_session
from per_hash as h
group by day
order by day
