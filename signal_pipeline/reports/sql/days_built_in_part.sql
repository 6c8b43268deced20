-- Days whose rollups of parts were built from different events (mixed), or, on an open day, are not
-- all built. A purged day does not wait for a rollup that it never had.
select d.day, d.state = 'purged' as is_purged, count(distinct b.version) > 1 as is_mixed
from signal.days as d
inner join signal.builds as b on b.day = d.day and b.rollup = any(%(rollups)s::text[])
where d.day between %(first)s and %(last)s
group by d.day, d.state
having
    count(distinct b.version) > 1
    or d.state = 'open' and count(*) < cardinality(%(rollups)s::text[])
order by d.day
