-- All sessions of a day, 4 bytes for each user of a session, in any order.
-- The workers pack those of each user, so that few bytes go through the coordinator of a cluster.
select coalesce(string_agg(sessions, ''), '')
from (
    select user_hash, string_agg(int4send(uuid_hash(session_id)), '') as sessions
    from (
        select user_hash, session_id
        from signal.events
        where created_at >= $1 and created_at < $2 and session_id is not null
        group by user_hash, session_id
    ) as pairs
    group by user_hash
) as per_user
