select day, outcome, sum(events)::bigint as events
from signal.books
where day between %(first)s and %(last)s and outcome <> 'erased'
group by day, outcome
order by day, outcome
