-- As before, but an entry has an actor and a possible count. Until this version, somebody with the
-- API's login could say that nobody read, or that -3 events were read.
create or replace function signal.audit_read(acted_by bytea, seen bigint) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if acted_by is null or seen is null or seen < 0 then
        raise exception 'an entry of a read needs who read, and how many events, which is not below 0';
    end if;
    insert into signal.audit (at, action, actor, details)
    values (clock_timestamp(), 'read_events', acted_by, jsonb_build_object('events', seen));
end
$$;
