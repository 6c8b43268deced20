-- The last evaluation of each check stays, even if newer runs planned the check and did not
-- evaluate it. Plans are not compared by partition: the plan of a run of one day has that day as
-- its partition, while its evaluation has none. A plan is deleted as soon as there is a newer row.
with gone as (
    delete from asset_check_executions as c
    where
        c.run_id = any(%(runs)s)
        and exists (
            select from asset_check_executions as later
            where
                later.asset_key = c.asset_key
                and later.check_name = c.check_name
                and later.id > c.id
                and (
                    c.execution_status = 'PLANNED'
                    or (later.execution_status <> 'PLANNED' and later.partition is not distinct from c.partition)
                )
        )
    returning c.id
)

select count(*) from gone
