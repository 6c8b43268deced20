-- Of some days, those that no event made stale: the model changed, or the rollup is new. Since when they wait: the first
-- build by the present model, of any day before today, that came after their own; of a new rollup, its first build.
select d.day, min(o.built_at) as since
from signal.days as d
left join signal.builds as b on b.day = d.day and b.rollup = %(rollup)s
inner join signal.builds as o
    on o.rollup = %(rollup)s and o.day < %(today)s
    and (b.day is null or o.model_checksum = %(checksum)s and o.built_at > b.built_at)
where d.day = any(%(days)s) and (b.version = d.version or b.day is null)
group by d.day
