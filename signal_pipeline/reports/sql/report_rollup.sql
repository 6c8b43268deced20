select
    {period} as {period_name},
    {dimensions},
    sum(events)::bigint as events,
    sum(users)::bigint as {users_name},
    sum(sessions)::bigint as {sessions_name},
    max(users) as peak_users
from signal.{rollup}
where
    activity_date between %(first)s and %(last)s
    and (%(app_name)s::text is null or app_name = %(app_name)s)
    and (%(event_type)s::text is null or event_type = %(event_type)s)
group by 1, {dimensions}
order by 1, events desc, {dimensions}
