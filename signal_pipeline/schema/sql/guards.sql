-- The guards of the rollups: only the erasure of an entity can change rows of a purged day.
--
-- migrate_rollups (rollup_tables.py) puts them on each rollup as statement triggers. They run with
-- the rights of their owner, so that a role that can only write rollups can lock rows of
-- signal.days.

-- A transaction with a row in this table can delete rows of purged days. Only the function at the
-- end of this file writes the table, and it deletes its own row before it returns. No role has any
-- right on the table.
create table if not exists signal.guard_passes (transaction xid8 primary key);

-- The key share lock excludes a purge, which takes the row for update, and lets writers raise the
-- version.
create or replace function signal.guard_rollup() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    touched date[];
    refused record;
begin
    if tg_op = 'INSERT' then
        select array_agg(distinct activity_date) into touched from new_rows;
    elsif tg_op = 'DELETE' then
        select array_agg(distinct activity_date) into touched from old_rows;
    else
        select array_agg(activity_date) into touched
        from (select activity_date from new_rows union select activity_date from old_rows) as rows;
    end if;

    perform from signal.days where day = any (touched) order by day for key share;

    select wanted.day, days.state into refused
    from unnest(touched) as wanted (day)
    left join signal.days using (day)
    where days.state is null or days.state = 'purged'
    order by wanted.day
    limit 1;
    if found and refused.state is null then
        raise exception 'day % is unknown: signal.% is not changed', refused.day, tg_table_name;
    elsif found then
        if tg_op = 'DELETE' and exists (
            select from signal.guard_passes where transaction = pg_current_xact_id()
        ) then
            return null;
        end if;
        raise exception 'day % is purged: signal.% is not changed', refused.day, tg_table_name;
    end if;
    return null;
end
$$;

create or replace function signal.refuse_truncate() returns trigger
language plpgsql
as $$
begin
    raise exception 'truncate is refused: signal.% may hold days whose raw events are purged', tg_table_name;
end
$$;

-- Nobody else may put a guard on a table of their own, since rollups are found by their guard. Who
-- fires a trigger needs no right on its function.
revoke execute on function signal.guard_rollup(), signal.refuse_truncate() from public;

-- The only exception from the guards: an entity's own rows are deleted from every rollup that has
-- entities, on purged days. Each changed day and rollup is audited here, in the same transaction.
-- The audit does not say which entity it was.
create or replace function signal.erase_entity_from_purged_days(
    erased_type text, erased_id text, certificate uuid, acted_by bytea
) returns table (erased_day date, erased_rows bigint)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    rollup record;
begin
    insert into signal.guard_passes values (pg_current_xact_id());
    for rollup in
        select t.tgrelid::regclass as name, c.relname
        from pg_trigger as t
        join pg_class as c on c.oid = t.tgrelid
        where t.tgfoid = 'signal.guard_rollup()'::regprocedure and t.tgname = 'guard_delete'
            and c.relnamespace = 'signal'::regnamespace
            and 2 = (
                select count(*) from pg_attribute
                where attrelid = t.tgrelid and attname in ('entity_type', 'entity_id') and not attisdropped
            )
    loop
        for erased_day, erased_rows in execute format(
            'with gone as ('
            'delete from %s as r using signal.days as d '
            'where d.day = r.activity_date and d.state = ''purged'' and r.entity_type = $1 and r.entity_id = $2 '
            'returning r.activity_date) '
            'select activity_date, count(*) from gone group by activity_date order by activity_date',
            rollup.name
        ) using erased_type, erased_id
        loop
            insert into signal.audit (at, action, day, actor, details)
            values (clock_timestamp(), 'erase', erased_day, acted_by, jsonb_build_object(
                'kind', 'entity', 'rollup', rollup.relname, 'rollup_rows', erased_rows, 'certificate', certificate
            ));
            return next;
        end loop;
    end loop;
    delete from signal.guard_passes where transaction = pg_current_xact_id();
end
$$;
revoke execute on function signal.erase_entity_from_purged_days(text, text, uuid, bytea) from public;
