-- Of some days, those that no event made stale: the model changed, or the rollup is new. Since when they wait: the first
-- build by the present model, of any day before today, that came after their own; of a day that was never built, the first
-- build of any such day. A later build of the same day by the same model counts for nothing: it would excuse them anew.
select d.day, min(o.first_built_at) as since
from signal.days as d
left join signal.builds as b on b.day = d.day and b.rollup = %(rollup)s
inner join signal.builds as o
    on o.rollup = %(rollup)s and o.day < %(today)s
    and (b.day is null or o.model_checksum = %(checksum)s and o.first_built_at > b.built_at)
where d.day = any(%(days)s) and (b.version = d.version or b.day is null)
group by d.day
