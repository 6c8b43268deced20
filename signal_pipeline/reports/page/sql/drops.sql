-- What was received and not stored, by reason. Accepted events are not counted here: whoever
-- subtracted the rows that are shown from them would get the rows that are left out.
select reason, sum(events)::bigint as events
from signal.books
where
    outcome = 'dropped'
    and day between %(first)s and %(last)s
    and (%(app)s::text is null or app_name = %(app)s)
group by reason
order by events desc, reason
