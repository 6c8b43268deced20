select
    coalesce(sum(events), 0)::bigint,
    coalesce(sum(events) filter (where outcome = 'accepted'), 0)::bigint,
    coalesce(sum(events) filter (where outcome = 'duplicate'), 0)::bigint,
    coalesce(sum(events) filter (where outcome = 'dropped'), 0)::bigint
from signal.books
where outcome <> 'erased' and day between %(first)s and %(last)s
