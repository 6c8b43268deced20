-- Counts what is older than the limit and not ours. None of it was touched.
with ours as (select unnest(%(ours)s::text[]) as run_id)

select
    (
        select count(*) from event_logs as e
        where e.timestamp < %(before)s and not exists (select from ours where ours.run_id = e.run_id)
    ) as events,
    (
        select count(*) from asset_check_executions as c
        where c.create_timestamp < %(before)s and not exists (select from ours where ours.run_id = c.run_id)
    ) as checks,
    (
        select count(*) from runs as r
        where r.update_timestamp < %(before)s and not exists (select from ours where ours.run_id = r.run_id)
    ) as runs,
    (
        select count(*) from job_ticks as t
        where t.timestamp < %(before)s and t.selector_id <> all(%(instigators)s)
    ) as ticks
