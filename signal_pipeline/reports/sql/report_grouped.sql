select
    {keys},
    sum(events)::bigint as events,
    sum(users)::bigint as {users_name},
    sum(sessions)::bigint as {sessions_name},
    max(users) as peak_users
from signal.{rollup}
where activity_date between %(first)s and %(last)s {filters}
group by {keys}
order by events desc, {keys}
