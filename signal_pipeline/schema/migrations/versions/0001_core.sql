-- The tables that hold events, their keys, their days and the proofs about them.
-- Rules behind the shapes: docs/decisions.md.

create table signal.instance (
    singleton boolean primary key default true check (singleton),
    start_date date not null,
    created_at timestamptz not null default now()
);
comment on table signal.instance is 'One row: the first day that may hold events.';

create table signal.days (
    day date primary key,
    version bigint not null default 0,
    state text collate "C" not null default 'open' check (state in ('open', 'purged')),
    incomplete boolean not null default false,
    changed_at timestamptz not null default now(),
    check (not incomplete or state = 'purged')
) with (fillfactor = 50);
comment on table signal.days is
    'One row per UTC day. version grows with every committed change to the raw events of the day.';

create table signal.events (
    id uuid not null,
    created_at timestamptz not null,
    app_name text collate "C" not null,
    event_type text collate "C" not null,
    route text collate "C",
    entity_type text collate "C",
    entity_id text collate "C",
    user_hash bytea not null check (octet_length(user_hash) = 32),
    session_id uuid,
    device_type text collate "C" not null,
    browser_family text collate "C" not null,
    os_family text collate "C" not null,
    client_event_id uuid not null,
    description jsonb,
    check ((entity_type is null) = (entity_id is null))
) partition by range (created_at);
comment on table signal.events is 'One row per accepted event; one partition per UTC day; append-only.';

create index events_app_type_time on signal.events (app_name, event_type, created_at);
create index events_entity_time on signal.events (entity_type, entity_id, created_at)
    where entity_id is not null;
create index events_user_time on signal.events (user_hash, created_at);

create table signal.event_keys (
    client_event_id uuid primary key,
    day date not null
);
create index event_keys_day on signal.event_keys (day);
comment on table signal.event_keys is
    'The ledger of idempotency: one row per stored client_event_id, kept as long as its day.';

create table signal.day_keys (
    day date not null,
    key_id text collate "C" not null,
    primary key (day, key_id)
);
comment on table signal.day_keys is
    'Which secrets hashed a day, by key id. Two rows for one day: its users are over-counted.';

create table signal.books (
    day date not null,
    app_name text collate "C" not null,
    event_type text collate "C" not null,
    outcome text collate "C" not null
        check (outcome in ('accepted', 'duplicate', 'dropped', 'erased')),
    reason text collate "C" not null default '',
    events bigint not null check (events >= 0),
    primary key (day, app_name, event_type, outcome, reason),
    check ((outcome = 'dropped') = (reason <> ''))
) with (fillfactor = 70);
comment on table signal.books is
    'received = accepted + duplicate + dropped, per day, app and type. Kept as long as the rollups.';

create table signal.address_gaps (
    day date not null,
    app_name text collate "C" not null,
    missing bigint not null default 0,
    invalid bigint not null default 0,
    primary key (day, app_name)
) with (fillfactor = 70);
comment on table signal.address_gaps is
    'Accepted events that were hashed with an empty address, because none came or it was not one.';

create table signal.builds (
    day date not null,
    rollup text collate "C" not null,
    version bigint not null,
    model_checksum text collate "C" not null,
    engine text collate "C" not null,
    rows bigint not null,
    raw_events bigint not null,
    seconds double precision not null,
    built_at timestamptz not null default now(),
    primary key (day, rollup)
);
comment on table signal.builds is 'The last build of each rollup and day: what it read and with which model.';

create table signal.receipts (
    day date primary key,
    purged_at timestamptz not null default now(),
    raw_events bigint not null,
    keys bigint not null,
    accepted bigint not null,
    erased bigint not null,
    first_event timestamptz,
    last_event timestamptz,
    version bigint not null,
    bytes bigint not null,
    rollups jsonb not null,
    incomplete boolean not null default false,
    reason text check (length(reason) <= 200)
);
comment on table signal.receipts is 'The stored proof of a purge.';

create table signal.audit (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    action text collate "C" not null,
    day date,
    details jsonb not null default '{}'
);
comment on table signal.audit is 'Append-only: purges and forced purges.';

create table signal.landed_files (
    content_hmac bytea primary key,
    bytes bigint not null,
    byte_offset bigint not null default 0,
    started_at timestamptz not null default now(),
    done_at timestamptz
);
comment on table signal.landed_files is
    'How far each landed file is ingested, by a keyed digest of its content; its name is not kept.';

create function signal.refuse_change() returns trigger
language plpgsql
as $$
begin
    raise exception '% on signal.% is refused: the table is append-only', tg_op, tg_table_name;
end
$$;
create trigger append_only before update or delete or truncate on signal.receipts
    for each statement execute function signal.refuse_change();
create trigger append_only before update or delete or truncate on signal.audit
    for each statement execute function signal.refuse_change();

-- A day's row and partition, made in a short transaction of its own before a load. CREATE LIKE and
-- ATTACH let writers go on, where CREATE ... PARTITION OF would lock the parent against them.
create function signal.ensure_day(wanted date) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    partition_name text := 'events_' || to_char(wanted, 'YYYYMMDD');
    first_day date := (select start_date from signal.instance);
begin
    if exists (select from signal.days where day = wanted) then
        return;
    end if;
    if wanted < first_day or wanted > (now() at time zone 'UTC')::date + 1 then
        raise exception 'no day %: days run from % to today', wanted, first_day;
    end if;
    perform pg_advisory_xact_lock(hashtext('signal.ensure_day'), wanted - date '2000-01-01');
    if exists (select from signal.days where day = wanted) then
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
    insert into signal.days (day) values (wanted);
end
$$;
