-- The last materialization of each partition stays, whatever its age: Dagster reads the state of partitions from it.
with kept as (
    select max(id) as id
    from event_logs
    where dagster_event_type in ('ASSET_MATERIALIZATION', 'FRESHNESS_STATE_CHANGE') and asset_key is not null
    group by dagster_event_type, asset_key, partition
)
delete from event_logs as e
where
    e.timestamp < %(before)s
    and not exists (select from kept where kept.id = e.id)
    and not exists (
        select from runs as r
        where r.run_id = e.run_id and r.status not in ('SUCCESS', 'FAILURE', 'CANCELED')
    )
