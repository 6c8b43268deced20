-- What people and BI tools read. A plain SUM over any number here is either right, or its label
-- (`SUM(daily_users)`) says what was added up. The views of the rollups are made from the models:
-- schema/reporting_views.py. They all run with the rights of their owner, so the reader needs no
-- right on the tables in `signal`.

do $$
begin
    -- Not `if not exists`: even where the schema exists, that needs the right to create one.
    if to_regnamespace('signal_reporting') is null then
        create schema signal_reporting;
    end if;
end
$$;
comment on schema signal_reporting is
    'Signal''s numbers for people, BI tools and dbt: daily rollups, states of days, books. Days are'
    ' UTC. Numbers are whole, also those of one person: pass on only what may be passed on.';

-- Until this version the views without '(all)' rows were beside the tables of their rollups. A view
-- on which somebody else built another view is not dropped.
do $$
declare
    old record;
begin
    for old in
        select viewname
        from pg_views
        where schemaname = 'signal' and viewname like '%\_by\_type'
            and to_regclass(format('signal.%I', left(viewname, -length('_by_type')))) is not null
    loop
        begin
            execute format('drop view signal.%I', old.viewname);
        exception when dependent_objects_still_exist then
            null;
        end;
    end loop;
end
$$;

create view signal_reporting.instance as
select start_date, created_at as installed_at from signal.instance;
comment on view signal_reporting.instance is 'One row: since when Signal can have numbers.';
comment on column signal_reporting.instance.start_date is
    'The first UTC day that can hold events. Nothing is known of the days before it.';
comment on column signal_reporting.instance.installed_at is 'When Signal was installed.';

create view signal_reporting.days as
select
    d.day,
    d.state,
    d.day >= (now() at time zone 'UTC')::date as is_partial,
    d.incomplete as is_incomplete,
    coalesce(
        (
            select count(distinct k.key_id) > 1 or count(distinct k.hash_rules) > 1
            from signal.day_keys as k
            where k.day = d.day
        ),
        false
    ) as users_over_counted,
    e.accepted - e.erased as events,
    d.version,
    d.changed_at
from signal.days as d
join signal.expected_events as e on e.day = d.day;
comment on view signal_reporting.days is
    'The state of each UTC day that has events or was built. One row per day. A day without a row is'
    ' unknown, not zero.';
comment on column signal_reporting.days.day is 'The UTC date.';
comment on column signal_reporting.days.state is
    'open: raw events are kept. purged: raw events are deleted, and the rollups are final.';
comment on column signal_reporting.days.is_partial is
    'True until the day is over in UTC: its numbers still grow.';
comment on column signal_reporting.days.is_incomplete is
    'True if a person had the raw events deleted before the rollups were proven complete.';
comment on column signal_reporting.days.users_over_counted is
    'True if two secrets or two versions of the rules of names hashed the day: its daily_users are'
    ' too high.';
comment on column signal_reporting.days.events is
    'Accepted events by the books, less the erased ones, also of a purged day. Add them up freely.';
comment on column signal_reporting.days.version is
    'Grows with every committed change to the raw events of the day. Never add these up.';
comment on column signal_reporting.days.changed_at is 'When the raw events last changed.';

create view signal_reporting.app_days as
select
    b.day,
    b.app_name,
    b.accepted,
    coalesce(g.missing + g.invalid, 0) as without_address,
    coalesce(g.missing + g.invalid, 0) > 0.01 * b.accepted as users_degraded
from (
    select day, app_name, sum(events)::bigint as accepted
    from signal.books
    where outcome = 'accepted'
    group by day, app_name
) as b
left join signal.address_gaps as g using (day, app_name);
comment on view signal_reporting.app_days is
    'How far the daily_users of an app can be trusted. One row per day and app.';
comment on column signal_reporting.app_days.day is 'The UTC date.';
comment on column signal_reporting.app_days.app_name is 'The app that sent the events.';
comment on column signal_reporting.app_days.accepted is
    'Events accepted, erased ones included. Add them up freely.';
comment on column signal_reporting.app_days.without_address is
    'Accepted events that came without a usable network address. Add them up freely.';
comment on column signal_reporting.app_days.users_degraded is
    'True if more than 1 % of the accepted events had no address: daily_users are too low.';

create view signal_reporting.rollup_days as
with rollups as (
    select c.relname::text as rollup
    from pg_trigger as t
    join pg_class as c on c.oid = t.tgrelid
    join pg_proc as p on p.oid = t.tgfoid
    where t.tgname = 'guard_insert' and p.proname = 'guard_rollup'
        and p.pronamespace = 'signal'::regnamespace
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
comment on view signal_reporting.rollup_days is
    'How fresh each rollup of each day is, and its last build. One row per day and rollup. Never add'
    ' anything up over rollups: each counts the same events.';
comment on column signal_reporting.rollup_days.day is 'The UTC date.';
comment on column signal_reporting.rollup_days.rollup is 'The name of the rollup, as of its view.';
comment on column signal_reporting.rollup_days.freshness is
    'fresh: up to date, or final. stale: events came since, or a later build used a newer model.'
    ' missing: not built. unavailable: not built, and the raw events are gone. incomplete: raw'
    ' events were deleted too early. A model that no build has used yet is not seen here.';
comment on column signal_reporting.rollup_days.built_at is 'When the last build was committed.';
comment on column signal_reporting.rollup_days.first_built_at is
    'When the first of the builds with the present model was committed.';
comment on column signal_reporting.rollup_days.rows is
    'Rows that the build wrote. Never add these up over rollups.';
comment on column signal_reporting.rollup_days.raw_events is
    'Raw events of the day that the build read. Never add these up over rollups.';
comment on column signal_reporting.rollup_days.seconds is
    'How long the build took. Rollups of one run share the time, so never add these up.';
comment on column signal_reporting.rollup_days.engine is 'What computed it: duckdb or postgres.';
comment on column signal_reporting.rollup_days.model_checksum is
    'A digest of the SQL that computed it.';
comment on column signal_reporting.rollup_days.built_version is
    'The version of the day that the build read. Never add these up.';
comment on column signal_reporting.rollup_days.day_version is
    'The present version of the day. Never add these up.';

create view signal_reporting.books as
select
    day,
    app_name,
    event_type,
    coalesce(sum(events) filter (where outcome <> 'erased'), 0)::bigint as received,
    coalesce(sum(events) filter (where outcome = 'accepted'), 0)::bigint as accepted,
    coalesce(sum(events) filter (where outcome = 'duplicate'), 0)::bigint as duplicates,
    coalesce(sum(events) filter (where outcome = 'dropped'), 0)::bigint as dropped,
    coalesce(sum(events) filter (where outcome = 'erased'), 0)::bigint as erased
from signal.books
group by day, app_name, event_type;
comment on view signal_reporting.books is
    'What became of everything received: received = accepted + duplicates + dropped. One row per'
    ' day, app_name and event_type. Add up each column freely.';
comment on column signal_reporting.books.day is
    'The UTC date of the event if it can be known, otherwise of its receipt.';
comment on column signal_reporting.books.app_name is
    'The app; (unknown) for an app that is not in the catalogue.';
comment on column signal_reporting.books.event_type is
    'What happened; (other) for a type that is not in the catalogue.';
comment on column signal_reporting.books.received is 'Everything that came.';
comment on column signal_reporting.books.accepted is
    'Stored as events. Events that were erased later are still counted here.';
comment on column signal_reporting.books.duplicates is
    'Came again with an id that was stored already; nothing was stored.';
comment on column signal_reporting.books.dropped is
    'Not stored, for a reason that the view drops tells.';
comment on column signal_reporting.books.erased is
    'Stored, and later erased for a data subject. Part of accepted.';

create view signal_reporting.drops as
select day, app_name, event_type, reason, sum(events)::bigint as dropped
from signal.books
where outcome = 'dropped'
group by day, app_name, event_type, reason;
comment on view signal_reporting.drops is
    'Why events were dropped. One row per day, app_name, event_type and reason.';
comment on column signal_reporting.drops.day is
    'The UTC date of the event if it can be known, otherwise of its receipt.';
comment on column signal_reporting.drops.app_name is
    'The app; (unknown) for an app that is not in the catalogue.';
comment on column signal_reporting.drops.event_type is
    'What happened; (other) for a type that is not in the catalogue.';
comment on column signal_reporting.drops.reason is
    'Why, in one word: bot, too_late, invalid_field and so on.';
comment on column signal_reporting.drops.dropped is 'Events dropped. Add them up freely.';

create view signal_reporting.intake as
select received_on, app_name, outcome, reason, events as received, changed_at
from signal.intake;
comment on view signal_reporting.intake is
    'What was received together, whatever day the events belong to. One row per received_on,'
    ' app_name, outcome and reason. Begins with migration 0004.';
comment on column signal_reporting.intake.received_on is 'The UTC date of receipt.';
comment on column signal_reporting.intake.app_name is
    'The app; (unknown) for an app that is not in the catalogue.';
comment on column signal_reporting.intake.outcome is 'accepted, duplicate or dropped.';
comment on column signal_reporting.intake.reason is 'Why it was dropped; empty otherwise.';
comment on column signal_reporting.intake.received is 'Events received. Add them up freely.';
comment on column signal_reporting.intake.changed_at is 'When the row last changed.';

create view signal_reporting.bots as
select day, app_name, browser_family, os_family, device_type, events as dropped, changed_at
from signal.bots;
comment on view signal_reporting.bots is
    'Events dropped as bots, by what their user agents said. One row per day, app_name,'
    ' browser_family, os_family and device_type.';
comment on column signal_reporting.bots.day is 'The UTC date, as in the view drops.';
comment on column signal_reporting.bots.app_name is 'The app that the bot named.';
comment on column signal_reporting.bots.browser_family is
    'The browser, from a closed list; (not recorded) before migration 0004.';
comment on column signal_reporting.bots.os_family is
    'The operating system, from a closed list; (not recorded) before migration 0004.';
comment on column signal_reporting.bots.device_type is
    'The kind of device, from a closed list; (not recorded) before migration 0004.';
comment on column signal_reporting.bots.dropped is
    'Events dropped as bots. Add them up freely: the sum per day and app is that of drops.';
comment on column signal_reporting.bots.changed_at is 'When the row last changed.';
