-- The least-privilege roles and what each may do. Runs at each migration: a restored database may come without them.
-- They have no password until the owner gives the reader one. Give a login of your own one of them: grant signal_api to my_login.
-- Of the rollups, migrate_rollups grants the rest; which role is a member of which, stands in missing_memberships.sql.

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
declare
    wanted record;
begin
    -- A role that is missing does not keep the others from theirs.
    for wanted in
        select r.rolname, g.privileges
        from (
            values
            ('usage on schema signal', '{signal_writer, signal_builder, signal_reader, signal_api, signal_admin}'),
            (format('temporary on database %I', current_database()), '{signal_writer, signal_builder, signal_admin}'),
            ('execute on function signal.ensure_day(date)', '{signal_writer, signal_builder, signal_admin}'),

            -- The writer stores events and cannot read them. Of the ledger it sees ids, to tell a duplicate.
            ('insert on signal.events', '{signal_writer}'),
            ('insert, select (client_event_id) on signal.event_keys', '{signal_writer}'),
            ('select, update (version, changed_at) on signal.days', '{signal_writer}'),
            ('select, insert, update (events) on signal.books', '{signal_writer}'),
            ('select, insert, update (missing, invalid) on signal.address_gaps', '{signal_writer}'),
            ('select, insert, update (events, changed_at) on signal.intake, signal.bots', '{signal_writer}'),
            ('select, insert on signal.day_keys', '{signal_writer}'),
            ('select, insert, update on signal.landed_files', '{signal_writer}'),
            ('select on signal.instance', '{signal_writer}'),

            -- The builder reads events and writes rollups and their build records.
            ('select on signal.events', '{signal_builder}'),
            ('select, insert, update on signal.builds', '{signal_builder}'),

            -- The reader sees rollups, and the counts without which no honest label could stand beside them.
            ('select on signal.builds', '{signal_reader}'),
            (
                'select on signal.days, signal.books, signal.instance, signal.address_gaps, signal.day_keys',
                '{signal_builder, signal_reader}'
            ),
            ('select on signal.intake, signal.bots', '{signal_builder, signal_reader}'),

            -- The API stores events, reads rollups, and lets its own admins look at raw events, each look audited.
            ('select on signal.events', '{signal_api}'),
            ('execute on function signal.audit_read(bytea, bigint)', '{signal_api, signal_admin}'),

            -- The admin purges and erases; what the others may, it may as their member.
            ('select, delete on signal.events, signal.event_keys, signal.landed_files', '{signal_admin}'),
            ('update on signal.days', '{signal_admin}'),
            ('select, insert on signal.receipts, signal.seen_days', '{signal_admin}'),
            ('select on signal.audit', '{signal_admin}'),
            ('execute on function signal.audit_operator(text, date, bytea, jsonb)', '{signal_admin}'),
            ('execute on function signal.drop_partition(date)', '{signal_admin}'),
            (
                'execute on function signal.erase_entity_from_purged_days(text, text, uuid, bytea)',
                '{signal_admin}'
            )
        ) as g (privileges, roles)
        join pg_roles as r on r.rolname = any (g.roles::text[])
    loop
        execute format('grant %s to %I', wanted.privileges, wanted.rolname);
    end loop;

    -- Earlier versions let them add any entry to the audit.
    for wanted in
        select rolname from pg_roles where rolname in ('signal_writer', 'signal_api', 'signal_admin')
    loop
        execute format('revoke insert on signal.audit from %I', wanted.rolname);
    end loop;
end
$$;
