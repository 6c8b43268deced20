-- Some of the given days are stale although no event came: the model changed, or the rollup is new.
-- For these days: since when they have waited. A day with a build waits since the present model
-- first built any day before today, not counting builds older than the day's own. A day that was
-- never built waits since the first build of any day before today. `first_built_at` stays the same
-- when a model builds a day again, because later builds must not excuse the waiting days anew.
select d.day, min(o.first_built_at) as since
from signal.days as d
left join signal.builds as b on b.day = d.day and b.rollup = %(rollup)s
inner join signal.builds as o
    on o.rollup = %(rollup)s and o.day < %(today)s
    and (b.day is null or o.model_checksum = %(checksum)s and o.first_built_at > b.built_at)
where d.day = any(%(days)s) and (b.version = d.version or b.day is null)
group by d.day
