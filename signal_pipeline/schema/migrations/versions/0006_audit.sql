-- A role that is audited does not write its own entries. These functions do: they set the time and
-- the number, and allow only certain actions. Until this version a role could insert an entry with
-- any time, number and action. schema/sql/roles.sql says which role can call which function.

create function signal.audit_read(acted_by bytea, seen bigint) returns void
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    insert into signal.audit (at, action, actor, details)
    values (clock_timestamp(), 'read_events', acted_by, jsonb_build_object('events', seen));
$$;
revoke execute on function signal.audit_read(bytea, bigint) from public;
comment on function signal.audit_read(bytea, bigint) is
    'The only entry that the API can make: somebody, as an HMAC, has now read so many raw events.';

create function signal.audit_operator(done text, on_day date, acted_by bytea, told jsonb) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if done is null or done not in ('purge', 'purge_incomplete', 'confirm_days', 'erase', 'subject') then
        raise exception 'the audit knows no such action: write purge, purge_incomplete, confirm_days, erase or subject';
    end if;
    insert into signal.audit (at, action, day, actor, details)
    values (clock_timestamp(), done, on_day, acted_by, told);
end
$$;
revoke execute on function signal.audit_operator(text, date, bytea, jsonb) from public;
comment on function signal.audit_operator(text, date, bytea, jsonb) is
    'What an operator, or the night, has now done to a day.';
