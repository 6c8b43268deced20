-- Whether a distributed table still has blocks on the coordinator: copies of the rows that moved to
-- the workers. No query sees these rows, so the size of the table's files has to tell.
select coalesce(sum(pg_relation_size(t.relid)), 0) > 0
from (
    select to_regclass(%(table)s) as relid
    union
    select relid from pg_partition_tree(to_regclass(%(table)s))
) as t
