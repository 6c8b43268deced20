-- With these settings the server notices within half a minute if the machine of the run vanishes
-- silently.
select
    set_config('tcp_keepalives_idle', '10', false),
    set_config('tcp_keepalives_interval', '5', false),
    set_config('tcp_keepalives_count', '3', false),
    pg_advisory_lock_shared(%s, %s)
