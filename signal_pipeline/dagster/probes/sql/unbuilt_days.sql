-- Of the given days: those that ended before a time and were not built since they ended, though a
-- night should have built each. Left out are days that no night builds unless an event comes: days
-- from before the installation, and days without a build that are more than a month old
-- (LONGEST_GAP in due_builds.py). Such a day can have got its first event just now, so its end says
-- nothing.
select d.day
from signal.days as d
cross join signal.instance as i
left join signal.builds as b on b.day = d.day and b.rollup = %(rollup)s
where d.day = any(%(days)s)
    and d.day >= (i.created_at at time zone 'UTC')::date
    and (d.day + 1)::timestamp at time zone 'UTC' < %(ended_before)s
    and (b.day is not null or d.day >= %(gaps_from)s)
    and (b.day is null or b.built_at < (d.day + 1)::timestamp at time zone 'UTC')
