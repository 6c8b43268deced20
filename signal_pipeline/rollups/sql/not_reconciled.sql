-- Only days whose builds are of their present version count: a stale day differs, and is labelled
-- stale. If the other side is a rollup, its build counts too.
select count(*)
from ({own}) as own
full join ({other}) as other using ({by})
inner join signal.days as d on d.day = activity_date and d.state = 'open'
inner join (
    select day, version
    from signal.builds
    where rollup = any({rollups}::text[])
    group by day, version
    having count(*) = cardinality({rollups}::text[])
) as b on b.day = d.day and b.version = d.version
where own.events is distinct from other.events
