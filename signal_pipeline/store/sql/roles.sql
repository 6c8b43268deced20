-- The least-privilege roles and what each may do. Runs at each migration: a restored database may come without them.
-- They have no password until the owner gives the reader one. Give a login of your own one of them: grant signal_api to my_login.
-- Of the rollups, migrate_rollups grants the rest.

-- Before the roles, which may be left out: this holds without them too.
revoke execute on function signal.ensure_day(date) from public;

do $$
declare
    wanted text;
begin
    foreach wanted in array array[
        'signal_writer', 'signal_builder', 'signal_reader', 'signal_api', 'signal_admin'
    ] loop
        if not exists (select from pg_roles where rolname = wanted) then
            begin
                -- The reader may log in where the server trusts it; a login without a password is refused elsewhere.
                execute format('create role %I %s', wanted, case wanted when 'signal_reader' then 'login' else 'nologin' end);
            exception when duplicate_object or unique_violation then
                null;  -- Made by a migration of another database at the same moment.
            end;
        end if;
    end loop;
exception when insufficient_privilege then
    null;  -- Who migrates learns of it from `missing_roles`.
end
$$;

do $$
begin
    if 5 > (
        select count(*) from pg_roles
        where rolname in ('signal_writer', 'signal_builder', 'signal_reader', 'signal_api', 'signal_admin')
    ) then
        return;
    end if;

    grant usage on schema signal to signal_writer, signal_builder, signal_reader, signal_api, signal_admin;
    execute format(
        'grant temporary on database %I to signal_writer, signal_builder, signal_admin', current_database()
    );
    grant execute on function signal.ensure_day(date) to signal_writer, signal_builder, signal_admin;

    -- The writer stores events and cannot read them. Of the ledger it sees ids, to tell a duplicate.
    grant insert on signal.events to signal_writer;
    grant insert, select (client_event_id) on signal.event_keys to signal_writer;
    grant select, update (version, changed_at) on signal.days to signal_writer;
    grant select, insert, update (events) on signal.books to signal_writer;
    grant select, insert, update (missing, invalid) on signal.address_gaps to signal_writer;
    grant select, insert on signal.day_keys to signal_writer;
    grant select, insert, update on signal.landed_files to signal_writer;
    grant select on signal.instance to signal_writer;
    revoke insert on signal.audit from signal_writer;  -- Earlier versions gave it.

    -- The builder reads events and writes rollups and their build records.
    grant select on signal.events, signal.days, signal.books, signal.instance, signal.address_gaps, signal.day_keys
        to signal_builder;
    grant select, insert, update on signal.builds to signal_builder;

    -- The reader sees rollups, and the counts without which no honest label could stand beside them.
    grant select on signal.days, signal.builds, signal.books, signal.instance, signal.address_gaps, signal.day_keys
        to signal_reader;

    -- The API stores events, reads rollups, and lets its own admins look at raw events, each look audited.
    grant signal_writer, signal_reader to signal_api;
    grant select on signal.events to signal_api;
    grant insert on signal.audit to signal_api;

    -- The admin does all of that, and purges and erases.
    grant signal_writer, signal_builder, signal_reader to signal_admin;
    grant select, delete on signal.events, signal.event_keys, signal.landed_files to signal_admin;
    grant update on signal.days to signal_admin;
    grant select on signal.receipts, signal.audit to signal_admin;
    grant insert on signal.receipts, signal.audit to signal_admin;
    grant execute on function signal.drop_partition(date) to signal_admin;
    grant execute on function signal.erase_entity_from_purged_days(text, text, uuid, bytea) to signal_admin;
end
$$;
