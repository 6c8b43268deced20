-- Advisory locks belong to one database of one cluster.
select system_identifier || '/' || d.oid
from pg_control_system(), pg_database as d
where d.datname = current_database()
