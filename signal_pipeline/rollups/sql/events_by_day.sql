select {by}, count(*) as events
from (
    select {columns}
    from signal.events
    where created_at >= %(start)s and created_at < %(end)s and (
        {condition}
    )
) as e
group by {by}
