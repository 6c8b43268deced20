with counted as materialized (
    select count(*) as events, min(created_at) as first_event, max(created_at) as last_event
    from signal.events
    where created_at >= %(start)s and created_at < %(end)s
)
select
    coalesce((select version from signal.days where day = %(day)s), 0) as version,
    coalesce(
        (
            select case when incomplete then 'incomplete' else state end
            from signal.days
            where day = %(day)s
        ),
        'open'
    ) as state,
    events,
    first_event,
    last_event
from counted
