select
    a.app_name,
    sum(coalesce(r.events, 0))::bigint as events,
    array_agg(coalesce(r.users, 0) order by d.day) as users
from (
    select distinct app_name
    from signal.daily_app_activity
    where activity_date between %(first)s and %(last)s
) as a
cross join (
    select generate_series(%(first)s::date, %(last)s::date, interval '1 day')::date as day
) as d
left join signal.daily_app_activity as r
    on r.activity_date = d.day and r.app_name = a.app_name and r.event_type = '(all)'
group by a.app_name
order by events desc
