-- As before, but the partition can be gone already: the receipt says what was still there.
create or replace function signal.drop_partition(wanted date) returns void
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
    execute format('drop table if exists signal.%I', 'events_' || to_char(wanted, 'YYYYMMDD'));
end
$$;

-- As before, but an open day whose partition is gone gets a new one. A day that is ahead has an
-- SQLSTATE of its own, which postgres/database.py knows, because time or a right clock mends it.
create or replace function signal.make_partition(wanted date) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    partition_name text := 'events_' || to_char(wanted, 'YYYYMMDD');
    first_day date := (select start_date from signal.instance);
    present timestamp := now() at time zone 'UTC';
begin
    if wanted < first_day then
        raise exception 'no partition of %: days run from % to a week from today',
            wanted, first_day;
    end if;
    if wanted > present::date + 7 then
        raise exception 'no partition of %: PostgreSQL''s clock says %, and days run to a week from'
            ' then', wanted, to_char(present, 'YYYY-MM-DD HH24:MI "UTC"')
            using errcode = 'SG001';
    end if;
    perform pg_advisory_xact_lock(hashtext('signal.ensure_day'), wanted - date '2000-01-01');
    -- The catalog as of now: `to_regclass` can miss a table that another transaction has made while
    -- this one waited for the lock.
    if exists (
        select from pg_inherits as i
        inner join pg_class as c on c.oid = i.inhrelid
        where i.inhparent = 'signal.events'::regclass and c.relname = partition_name
    ) then
        return;
    end if;
    if exists (
        select from pg_class
        where relname = partition_name and relnamespace = 'signal'::regnamespace
    ) then
        raise exception 'signal.% is detached from signal.events: attach it', partition_name
            using errcode = 'SG002';
    end if;
    -- The lock of the row waits for a purge of the day, and keeps the next one out.
    perform from signal.days where day = wanted for key share;
    if exists (select from signal.days where day = wanted and state = 'purged') then
        return;
    end if;
    execute format(
        'create table signal.%I (like signal.events including defaults including constraints)',
        partition_name
    );
    execute format(
        'alter table signal.events attach partition signal.%I for values from (%L) to (%L)',
        partition_name, wanted::text || ' 00:00:00+00', (wanted + 1)::text || ' 00:00:00+00'
    );
end
$$;

-- As before, but it also mends an open day without a partition, and says which clock is behind.
create or replace function signal.ensure_day(wanted date) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    first_day date := (select start_date from signal.instance);
    present timestamp := now() at time zone 'UTC';
    known text := (select state from signal.days where day = wanted);
begin
    if known = 'purged'
        or known = 'open'
        and exists (
            select from pg_inherits as i
            inner join pg_class as c on c.oid = i.inhrelid
            where i.inhparent = 'signal.events'::regclass
                and c.relname = 'events_' || to_char(wanted, 'YYYYMMDD')
        )
    then
        return;
    end if;
    if wanted < first_day then
        raise exception 'no day %: days run from % to today', wanted, first_day;
    end if;
    if wanted > present::date + 1 then
        raise exception 'no day % yet: PostgreSQL''s clock says %. If it differs from this'
            ' machine''s clock, set both right', wanted, to_char(present, 'YYYY-MM-DD HH24:MI "UTC"')
            using errcode = 'SG001';
    end if;
    perform signal.make_partition(wanted);
    insert into signal.days (day) values (wanted) on conflict (day) do nothing;
end
$$;
