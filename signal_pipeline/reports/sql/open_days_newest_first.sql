select day
from signal.days
where
    state = 'open'
    and (%(first)s::date is null or day >= %(first)s)
    and (%(last)s::date is null or day <= %(last)s)
order by day desc
