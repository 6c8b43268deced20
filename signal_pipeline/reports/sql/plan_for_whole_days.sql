-- Until PostgreSQL has analyzed a day's partition, it expects that a question about the whole day
-- needs one in 200 of its events, and plans to read these through an index and to sort them. An
-- embedded server may never analyze it. Whole days are read best by scans and counted best in hash
-- tables; filters with an index of their own still use it. Before version 18, turning `enable_sort`
-- off adds so much to the cost of the sorts that are left that PostgreSQL would compile each
-- statement.
select
    set_config('enable_sort', 'off', true),
    set_config('enable_indexscan', %(by_index)s, true),
    set_config('enable_bitmapscan', %(by_index)s, true),
    set_config('jit', 'off', true)
