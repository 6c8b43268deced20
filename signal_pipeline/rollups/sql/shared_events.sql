create temporary table {table} on commit drop as
select {columns}
from signal.events
where created_at >= $1 and created_at < $2 and uuid_hash(session_id) = any($3::int4[])
