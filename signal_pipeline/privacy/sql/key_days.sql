-- Each secret by its key id, with the days that it hashed (purged ones too), and how many of these
-- days another secret hashed too.
select
    k.key_id,
    min(k.day) as first,
    max(k.day) as last,
    count(distinct k.day) as days,
    count(distinct k.day) filter (
        where exists (select from signal.day_keys as o where o.day = k.day and o.key_id <> k.key_id)
    ) as mixed
from signal.day_keys as k
group by k.key_id
order by 2, 1
