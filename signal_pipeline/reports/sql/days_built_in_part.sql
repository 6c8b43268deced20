-- Open days whose rollups of parts are not all built, or not all from the same events.
select d.day
from signal.days as d
inner join signal.builds as b on b.day = d.day and b.rollup = any(%(rollups)s::text[])
where d.state = 'open' and d.day between %(first)s and %(last)s
group by d.day
having count(*) < cardinality(%(rollups)s::text[]) or count(distinct b.version) > 1
order by d.day
