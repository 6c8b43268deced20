select activity_date, sum(events)::bigint
from signal.{rollup}
where activity_date between %(first)s and %(last)s and event_type = '(all)'
group by activity_date
order by activity_date
