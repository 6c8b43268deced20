select {by}, sum(events)::bigint as events
from signal.{model}
where activity_date between %(first)s and %(last)s {fold}
group by {by}
