-- A day ($1), with the number of events that it should hold by the books.
select
    d.version,
    d.state,
    b.expected as expected_events
from signal.days as d
inner join signal.expected_events as b on b.day = d.day
where d.day = $1
