-- The days among those counted that hold fewer raw events than the books say, and by how many.
with counted as materialized ({counted})
select d.day, b.expected - e.events
from signal.days as d
inner join signal.expected_events as b on b.day = d.day
inner join counted as e on e.day = d.day
where d.state = 'open' and e.events < b.expected
