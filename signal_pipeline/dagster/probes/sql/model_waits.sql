-- For those of the given days that no event made stale (the model changed, or the rollup is new):
-- since when they have waited. For a day with a build, that is the first build by the present
-- model, of any day before today, that came after its own. For a day that was never built, it is
-- the first build of any such day. A later build of the same day by the same model does not count,
-- because it would excuse the days anew.
select d.day, min(o.first_built_at) as since
from signal.days as d
left join signal.builds as b on b.day = d.day and b.rollup = %(rollup)s
inner join signal.builds as o
    on o.rollup = %(rollup)s and o.day < %(today)s
    and (b.day is null or o.model_checksum = %(checksum)s and o.first_built_at > b.built_at)
where d.day = any(%(days)s) and (b.version = d.version or b.day is null)
group by d.day
