select
    app_name,
    coalesce(sum(events) filter (where outcome <> 'erased'), 0)::bigint as received,
    coalesce(sum(events) filter (where outcome = 'accepted'), 0)::bigint as accepted,
    coalesce(sum(events) filter (where outcome = 'duplicate'), 0)::bigint as duplicate,
    coalesce(sum(events) filter (where outcome = 'dropped'), 0)::bigint as dropped,
    coalesce(sum(events) filter (where outcome = 'erased'), 0)::bigint as erased
from signal.books
where
    day between %(first)s and %(last)s
    and (%(app)s::text is null or app_name = %(app)s)
group by app_name
order by received desc, app_name
