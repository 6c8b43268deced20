-- The days whose builds of the given rollups read different versions of the day.
select day
from signal.builds
where rollup = any(%(rollups)s) and day between %(first)s and %(last)s
group by day
having min(version) < max(version)
