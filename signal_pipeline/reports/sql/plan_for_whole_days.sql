-- A count over whole days reads all of their events, so it should scan the tables and count in hash
-- tables. Nothing tells PostgreSQL so until it has analyzed a day's partition, which an embedded
-- server may never do: it takes 0.5 % of the events for all of them, reads them through an index
-- and sorts them.
select
    set_config('enable_sort', 'off', true),
    set_config('enable_indexscan', 'off', true),
    set_config('enable_bitmapscan', 'off', true)
