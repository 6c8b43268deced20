select count(*)
from (
    select {grain}
    from signal.{model}
    where activity_date between %(first)s and %(last)s
    group by {grain}
    having count(*) > 1
) as g
