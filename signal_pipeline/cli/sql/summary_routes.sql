select route, sum(events)::bigint
from signal.daily_route_activity
where event_type = '(all)' and activity_date between %(first)s and %(last)s
group by route
order by 2 desc, 1
limit 8
