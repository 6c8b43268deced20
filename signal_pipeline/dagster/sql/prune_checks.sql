-- The last evaluation of each check stays, also under newer plans that led to nothing. A plan from
-- a run of one day has that day as its partition, while its evaluation has none. Such a plan is of
-- use only while there is nothing newer.
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
