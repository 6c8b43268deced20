select case outcome when 'dropped' then 'dropped: ' || reason else outcome end as label, sum(events)::bigint
from signal.books
where day = %s
group by label
order by label
