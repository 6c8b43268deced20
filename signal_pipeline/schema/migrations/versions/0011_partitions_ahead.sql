-- Make the partition of a day that can lie ahead. This makes no row in signal.days, and no event is
-- stored in the partition before the day has one. On a cluster, this holds back the writers of
-- other days, so the night makes those of the next days when no writer is in the way.
create function signal.make_partition(wanted date) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    partition_name text := 'events_' || to_char(wanted, 'YYYYMMDD');
    first_day date := (select start_date from signal.instance);
begin
    if wanted < first_day or wanted > (now() at time zone 'UTC')::date + 7 then
        raise exception 'no partition of %: days run from % to a week from today',
            wanted, first_day;
    end if;
    perform pg_advisory_xact_lock(hashtext('signal.ensure_day'), wanted - date '2000-01-01');
    if to_regclass('signal.' || partition_name) is not null
        or exists (select from signal.days where day = wanted)
    then
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
revoke execute on function signal.make_partition(date) from public;

-- As before, but the partition can be there already.
create or replace function signal.ensure_day(wanted date) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    first_day date := (select start_date from signal.instance);
begin
    if exists (select from signal.days where day = wanted) then
        return;
    end if;
    if wanted < first_day or wanted > (now() at time zone 'UTC')::date + 1 then
        raise exception 'no day %: days run from % to today', wanted, first_day;
    end if;
    perform signal.make_partition(wanted);
    insert into signal.days (day) values (wanted) on conflict (day) do nothing;
end
$$;

-- ensure_day calls make_partition with the rights of its owner. This can be run by another login:
-- a superuser, or a member of the owner.
do $$
declare
    first_owner name := (
        select pg_get_userbyid(proowner) from pg_proc
        where oid = 'signal.ensure_day(date)'::regprocedure
    );
begin
    if first_owner <> current_user then
        execute format('alter function signal.make_partition(date) owner to %I', first_owner);
    end if;
end
$$;
