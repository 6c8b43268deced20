-- The numbers of the given runs whose lock somebody holds in this database.
select distinct objid::bigint
from pg_locks
where
    locktype = 'advisory'
    and database = (select oid from pg_database where datname = current_database())
    and classid::bigint = %(lock)s
    and objid::bigint = any(%(numbers)s::bigint[])
    and objsubid = 2  -- The lock has two numbers.
    and granted
