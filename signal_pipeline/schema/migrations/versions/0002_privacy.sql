-- Least privilege: what a role may do that does not own the tables. The roles themselves:
-- schema/sql/roles.sql.

alter table signal.audit add column actor bytea check (octet_length(actor) = 32);
comment on table signal.audit is
    'Append-only: purges, forced purges, erasures, access by subjects and admins. Never a value of an event.';
comment on column signal.audit.actor is
    'HMAC of who acted, under SIGNAL_AUDIT_KEY; null for the nightly job.';

-- The guards of the rollups ask for the state of a day, so it must not go back.
create function signal.refuse_reopening() returns trigger
language plpgsql
as $$
begin
    raise exception 'day % is purged: it stays purged', old.day;
end
$$;
create trigger purged_is_final before update on signal.days
    for each row
    when (
        old.state = 'purged'
        and (new.state is distinct from 'purged' or new.day <> old.day or old.incomplete and not new.incomplete)
    )
    execute function signal.refuse_reopening();
create trigger purged_is_kept before delete on signal.days
    for each row when (old.state = 'purged')
    execute function signal.refuse_reopening();

-- A partition belongs to the owner of signal.ensure_day; who purges a day need not own anything.
create function signal.drop_partition(wanted date) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from signal.days where day = wanted and state = 'purged')
        or not exists (select from signal.receipts where day = wanted)
    then
        raise exception 'day % has no receipt: its events stay', wanted;
    end if;
    execute format('drop table signal.%I', 'events_' || to_char(wanted, 'YYYYMMDD'));
end
$$;
revoke execute on function signal.drop_partition(date) from public;
