select
    coalesce((select version from signal.days where day = %(day)s), 0),
    coalesce((select state from signal.days where day = %(day)s), 'open'),
    count(*),
    min(created_at),
    max(created_at),
    (
        select coalesce(jsonb_object_agg(label, events), '{}')
        from (
            select
                case outcome when 'dropped' then 'dropped: ' || reason else outcome end as label,
                sum(events) as events
            from signal.books
            where day = %(day)s
            group by 1
        ) as b
    )
from signal.events
where created_at >= %(start)s and created_at < %(end)s
