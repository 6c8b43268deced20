-- As before, but a guarded table of another schema is no rollup. Until now any login could make one.
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
    order by rollup, built_at desc
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
left join signal.builds as b on b.day = d.day and b.rollup = r.rollup
left join newest as n on n.rollup = r.rollup;

-- Nobody else needs a right on the functions of triggers: who fires a trigger needs none.
-- guards.sql says the same of the guards.
revoke execute on function signal.refuse_change(), signal.refuse_reopening() from public;
