select
    coalesce((select version from signal.days where day = %(day)s), 0),
    coalesce((select state from signal.days where day = %(day)s), 'open'),
    count(*),
    min(created_at),
    max(created_at)
from signal.events
where created_at >= %(start)s and created_at < %(end)s
