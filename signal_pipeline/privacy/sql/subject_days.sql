select (created_at at time zone 'UTC')::date as day, count(*)
from signal.events
where {condition}
group by 1
order by 1
