-- Of each check the last evaluation stays, also under newer plans that nothing came of. A plan of a run of one day has that
-- day for a partition, and its evaluation none: such a plan is of use only as long as nothing newer is there.
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
