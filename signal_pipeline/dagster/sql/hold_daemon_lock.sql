-- Takes the lock unless this session has it, because a lock that is taken twice counts twice. The
-- session must not be ended for being idle, and the server must notice soon if its machine vanishes.
select
    case
        when
            exists (
                select from pg_locks
                where
                    locktype = 'advisory'
                    and database = (select oid from pg_database where datname = current_database())
                    and classid::bigint = %(class)s
                    and objid = 0
                    and objsubid = 2  -- The lock has two numbers.
                    and pid = pg_backend_pid()
            )
            then true
        else pg_try_advisory_lock(%(class)s, 0)
    end as is_held
from (
    select
        set_config('idle_session_timeout', '0', false),
        set_config('tcp_keepalives_idle', '10', false),
        set_config('tcp_keepalives_interval', '5', false),
        set_config('tcp_keepalives_count', '3', false)
    offset 0
) as settings
