-- Bots are meant to be dropped, so they are no sign of a fault.
select
    day,
    sum(events) filter (where outcome = 'dropped')::float8 / sum(events)::float8 as share,
    sum(events)::bigint as received
from signal.books
where day between %(first)s and %(last)s and outcome <> 'erased' and reason <> 'bot'
group by day
order by day
