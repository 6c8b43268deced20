-- As before, but a day without a row from before the installation waits for nothing: no night builds
-- it, since nobody recorded its events.
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

waiting as (
    select
        r.rollup,
        case
            -- Of a day that is over: since its end, because a night builds each day, whether its
            -- events still come or not. Days from before the installation came as old files.
            when r.freshness = 'missing' and r.day < c.today and r.day < c.installed
                then greatest(d.changed_at, (r.day + 1)::timestamp at time zone 'UTC')
            when r.freshness = 'missing' and r.day < c.today
                then (r.day + 1)::timestamp at time zone 'UTC'
            when r.freshness = 'missing' then d.changed_at
            -- Today changes all the time, so its last change says nothing of how long it waits.
            when r.built_version <> r.day_version and r.day = c.today then r.built_at
            when r.built_version <> r.day_version then greatest(d.changed_at, r.built_at)
            -- The model changed: since the first build by the newer one.
            else (
                select coalesce(min(o.first_built_at), r.built_at)
                from signal.builds as o
                where o.rollup = r.rollup and o.model_checksum <> r.model_checksum
                    and o.first_built_at > r.built_at
            )
        end as since
    from signal_reporting.rollup_days as r
    inner join signal.days as d on d.day = r.day
    cross join calendar as c
    where r.freshness in ('missing', 'stale')
    union all
    select r.rollup, (g.day + 1)::timestamp at time zone 'UTC'
    from gaps as g
    cross join (select distinct rollup from signal_reporting.rollup_days) as r
)

select
    r.rollup,
    max(r.built_at) as newest_build_at,
    (select min(w.since) from waiting as w where w.rollup = r.rollup) as waits_since,
    case
        when max(r.built_at) is not null
            then coalesce((select min(w.since) from waiting as w where w.rollup = r.rollup), now())
    end as fresh_until
from signal_reporting.rollup_days as r
group by r.rollup;
