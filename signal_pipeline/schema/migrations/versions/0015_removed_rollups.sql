-- The rollups that have a table and no model now: nothing builds them any more. `migrate` writes
-- this table.
create table signal.former_rollups (
    rollup text collate "C" primary key
);

-- As before, but a removed rollup has no row for a day that it was never built for.
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
    d.version as day_version,
    f.rollup is not null as is_removed
from signal.days as d
cross join rollups as r
left join built as b on b.day = d.day and b.rollup = r.rollup
left join newest as n on n.rollup = r.rollup
left join signal.former_rollups as f on f.rollup = r.rollup
where f.rollup is null or b.day is not null;
comment on column signal_reporting.rollup_days.is_removed is
    'True if nothing builds the rollup any more, since it has no model. Only days that were built'
    ' have a row.';

-- As before, but nobody waits for a removed rollup.
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
    where r.freshness in ('missing', 'stale') and not r.is_removed
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
    cross join (select distinct rollup from signal_reporting.rollup_days where not is_removed) as r
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
where not r.is_removed
group by r.rollup, w.since;
comment on view signal_reporting.rollup_freshness is
    'Whether a rollup lags behind its events, over all days. One row per rollup that any day knows,'
    ' without those that were removed.';
