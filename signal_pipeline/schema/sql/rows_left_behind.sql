-- Whether a distributed table still has blocks on the coordinator: rows that moved to the workers
-- and that no query sees. Here the size of the empty table is what is wanted.
select coalesce(sum(pg_relation_size(t.relid)), 0) > 0
from (
    select to_regclass(%(table)s) as relid
    union
    select relid from pg_partition_tree(to_regclass(%(table)s))
) as t
