-- The last materialization, observation and change of freshness of each partition stay, whatever
-- their age. Dagster reads the state of partitions and their data versions from them.
with gone as (
    delete from event_logs as e
    where
        e.run_id = any(%(runs)s)
        and not (
            e.asset_key is not null
            and e.dagster_event_type in ('ASSET_MATERIALIZATION', 'ASSET_OBSERVATION', 'FRESHNESS_STATE_CHANGE')
            and not exists (
                select from event_logs as later
                where
                    later.asset_key = e.asset_key
                    and later.dagster_event_type = e.dagster_event_type
                    and later.partition is not distinct from e.partition
                    and later.id > e.id
            )
        )
    returning e.id
),

tags as (
    delete from asset_event_tags as t using gone where t.event_id = gone.id
)

select count(*) from gone
