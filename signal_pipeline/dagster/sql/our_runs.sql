-- Our runs, and whether each has ended and is older than the limit. A run is ours if our code
-- location launched it, or if a process of ours executed it itself and its lock is in our database.
-- It must also be a run of our jobs, or of our assets and their checks and of no others, because
-- others can share our code location. Both events and checks are read: events name no asset that is
-- only checked, and the results of a run's checks can stay after its events are deleted.
with located as (
    select t.run_id
    from run_tags as t
    where t.key = '.dagster/repository' and t.value = %(location)s
    union
    select t.run_id
    from run_tags as t
    where
        t.key = 'signal/lock'
        and t.value = %(locks)s
        and not exists (select from run_tags as l where l.run_id = t.run_id and l.key = '.dagster/repository')
)
select
    r.run_id,
    r.status in ('SUCCESS', 'FAILURE', 'CANCELED') and r.update_timestamp < %(before)s as is_old
from located
join runs as r using (run_id)
where
    (
        r.pipeline_name = any(%(jobs)s)
        or exists (select from event_logs as e where e.run_id = r.run_id and e.asset_key = any(%(assets)s))
        or exists (
            select from asset_check_executions as c
            where c.run_id = r.run_id and c.asset_key = any(%(assets)s)
        )
    )
    and not exists (
        select from event_logs as e
        where e.run_id = r.run_id and e.asset_key is not null and e.asset_key <> all(%(assets)s)
    )
    and not exists (
        select from asset_check_executions as c
        where c.run_id = r.run_id and c.asset_key is not null and c.asset_key <> all(%(assets)s)
    )
