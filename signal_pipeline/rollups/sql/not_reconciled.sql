-- Only days whose build is of their present version count: a stale day differs, and is labelled
-- stale.
select count(*)
from ({own}) as own
full join ({other}) as other using ({by})
inner join signal.days as d on d.day = activity_date and d.state = 'open'
inner join signal.builds as b
    on b.day = d.day and b.rollup = {rollup} and b.version = d.version
where own.events is distinct from other.events
