-- Counts only: no hash and no session leaves this query.
with per_hash as (
    select
        (created_at at time zone 'UTC')::date as day,
        user_hash,
        count(*) as events,
        count(distinct session_id) as sessions
    from signal.events
    where created_at >= %(start)s and created_at < %(end)s
    group by 1, 2
)
select
    day,
    sum(events)::bigint as events,
    count(*) as users,
    max(events)::float8 / sum(events)::float8 as top_share,
    max(sessions) as top_sessions
from per_hash
group by day
order by day
