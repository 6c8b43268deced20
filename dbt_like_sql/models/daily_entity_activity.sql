-- Activity per app and entity. Only events that name an entity.
-- The '(all)' rows are computed, not summed: distinct counts do not add up.
select
    cast(cast($1 as timestamptz) at time zone 'UTC' as date) as activity_date,
    app_name,
    event_type,
    entity_type,
    entity_id,
    count(*) as events,
    count(distinct user_hash) as users,
    count(distinct session_id) as sessions
from signal.events
where
    created_at >= $1
    and created_at < $2
    and entity_id is not null
group by
    app_name,
    event_type,
    entity_type,
    entity_id

union all

select
    cast(cast($1 as timestamptz) at time zone 'UTC' as date) as activity_date,
    app_name,
    '(all)' as event_type,
    entity_type,
    entity_id,
    count(*) as events,
    count(distinct user_hash) as users,
    count(distinct session_id) as sessions
from signal.events
where
    created_at >= $1
    and created_at < $2
    and entity_id is not null
group by
    app_name,
    entity_type,
    entity_id
