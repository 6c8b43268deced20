-- The guards of the rollups: rows of a purged day cannot change by any path.
--
-- migrate_rollups (tables.py) puts them on each rollup as statement triggers. They run with the rights of
-- their owner, so that a role that may only write rollups can lock rows of signal.days.

-- Key share excludes a purge, which takes the row for update, and lets writers raise the version.
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
