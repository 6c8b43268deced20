select model_checksum, min(day) as first_day
from signal.builds
where rollup = %(rollup)s and day between %(first)s and %(last)s
group by model_checksum
order by first_day
