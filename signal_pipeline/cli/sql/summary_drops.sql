select reason, sum(events)::bigint
from signal.books
where outcome = 'dropped' and day between %(first)s and %(last)s
group by reason
order by 2 desc, 1
