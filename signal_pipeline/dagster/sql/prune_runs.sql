-- Deletes runs of which no event and no check is left; their tags go with them.
with gone as (
    delete from runs as r
    where
        r.run_id = any(%(runs)s)
        and not exists (select from event_logs as e where e.run_id = r.run_id)
        and not exists (select from asset_check_executions as c where c.run_id = r.run_id)
    returning r.id
)

select count(*) from gone
