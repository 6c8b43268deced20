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

-- As before, but a time in the future comes from a clock that was ahead. A build with such a time
-- is not the newest while there are others, and no time shown is later than now.
create or replace view signal_reporting.rollup_days as
with rollups as (
    select c.relname::text as rollup
    from pg_trigger as t
    join pg_class as c on c.oid = t.tgrelid
    join pg_proc as p on p.oid = t.tgfoid
    where t.tgname = 'guard_insert' and p.proname = 'guard_rollup'
        and p.pronamespace = 'signal'::regnamespace and c.relnamespace = 'signal'::regnamespace
),

newest as (
    select distinct on (rollup) rollup, model_checksum
    from signal.builds
    order by rollup, built_at > now(), built_at desc
),

-- `least` passes over null, so it must not see the days without a build.
built as (
    select
        day, rollup, rows, raw_events, seconds, engine, model_checksum, version,
        least(built_at, now()) as built_at,
        least(first_built_at, now()) as first_built_at
    from signal.builds
)

select
    d.day,
    r.rollup,
    case
        when b.day is null and d.state = 'purged' then 'unavailable'
        when b.day is null then 'missing'
        when d.incomplete then 'incomplete'
        when d.state = 'purged' then 'fresh'
        when b.version = d.version and b.model_checksum = n.model_checksum then 'fresh'
        else 'stale'
    end as freshness,
    b.built_at,
    b.first_built_at,
    b.rows,
    b.raw_events,
    b.seconds,
    b.engine,
    b.model_checksum,
    b.version as built_version,
    d.version as day_version
from signal.days as d
cross join rollups as r
left join built as b on b.day = d.day and b.rollup = r.rollup
left join newest as n on n.rollup = r.rollup;

-- As before, but a time in the future counts as none, since nobody knows when that really was. A
-- day that has no other time waits since now.
create or replace view signal_reporting.rollup_freshness as
with calendar as (
    select
        (now() at time zone 'UTC')::date as today,
        (created_at at time zone 'UTC')::date as installed
    from signal.instance
),

-- Days without a row, on which nothing arrived and nothing ran. A night builds them, except those
-- that are more than a month old: LONGEST_GAP in dagster/due_builds.py.
gaps as (
    select (c.today - back) as day
    from calendar as c
    cross join generate_series(1, 32) as back
    where c.today - back > (select min(day) from signal.days)
        and c.today - back >= c.installed
        and not exists (select from signal.days where day = c.today - back)
),

due as (
    select
        r.day,
        r.rollup,
        r.freshness,
        r.model_checksum,
        r.built_version <> r.day_version as has_changed,
        -- `rollup_days` shows a time in the future as now.
        nullif(r.built_at, now()) as built_at,
        case when d.changed_at <= now() then d.changed_at end as changed_at
    from signal_reporting.rollup_days as r
    inner join signal.days as d on d.day = r.day
    where r.freshness in ('missing', 'stale')
),

waiting as (
    select
        r.rollup,
        case
            -- Of a day that is over: since its end, because a night builds each day, whether its
            -- events still come or not. Days from before the installation came as old files.
            when r.freshness = 'missing' and r.day < c.today and r.day < c.installed
                then greatest(coalesce(r.changed_at, now()), (r.day + 1)::timestamp at time zone 'UTC')
            when r.freshness = 'missing' and r.day < c.today
                then (r.day + 1)::timestamp at time zone 'UTC'
            when r.freshness = 'missing' then r.changed_at
            -- Today changes all the time, so its last change says nothing of how long it waits.
            when r.has_changed and r.day = c.today then r.built_at
            when r.has_changed then greatest(r.changed_at, r.built_at)
            -- The model changed: since the first build by the newer one.
            else (
                select coalesce(min(o.first_built_at), r.built_at)
                from signal.builds as o
                where o.rollup = r.rollup and o.model_checksum <> r.model_checksum
                    and o.first_built_at > coalesce(r.built_at, r.changed_at)
                    and o.first_built_at <= now()
            )
        end as since
    from due as r
    cross join calendar as c
    union all
    select r.rollup, (g.day + 1)::timestamp at time zone 'UTC'
    from gaps as g
    cross join (select distinct rollup from signal_reporting.rollup_days) as r
),

waits as (
    select rollup, min(coalesce(since, now())) as since
    from waiting
    group by rollup
)

select
    r.rollup,
    max(r.built_at) as newest_build_at,
    w.since as waits_since,
    case when max(r.built_at) is not null then coalesce(w.since, now()) end as fresh_until
from signal_reporting.rollup_days as r
left join waits as w on w.rollup = r.rollup
group by r.rollup, w.since;
