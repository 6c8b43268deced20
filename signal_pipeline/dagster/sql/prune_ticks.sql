-- For each sensor and schedule, the last tick of each status stays, and so does any tick that has
-- not ended.
with gone as (
    delete from job_ticks as t
    where
        t.selector_id = any(%(instigators)s)
        and t.timestamp < %(before)s
        and t.status in ('SKIPPED', 'SUCCESS', 'FAILURE')
        and exists (
            select from job_ticks as later
            where later.selector_id = t.selector_id and later.status = t.status and later.id > t.id
        )
    returning t.id
)

select count(*) from gone
