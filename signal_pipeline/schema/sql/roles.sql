-- The least-privilege roles and their grants. It runs at each migration, because a restored
-- database can come without them. The roles have no password until the owner gives the reader one.
-- Give a login of your own one of them: grant signal_api to my_login. migrate_rollups makes the
-- grants on the rollups; missing_memberships.sql says which role is a member of which.

-- This comes before the roles because it must hold without them too: making them can be refused.
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
                -- The reader can log in where the server trusts it; elsewhere a login without a
                -- password is refused.
                execute format('create role %I %s', wanted, case wanted when 'signal_reader' then 'login' else 'nologin' end);
            exception when duplicate_object or unique_violation then
                null;  -- A migration of another database made it at the same moment.
            end;
        end if;
    end loop;
exception when insufficient_privilege then
    null;  -- The user who migrates learns of it from `missing_roles`.
end
$$;

do $$
declare
    wanted record;
begin
    -- If a role is missing, the others get their grants all the same.
    for wanted in
        select r.rolname, g.privileges
        from (
            values
            ('usage on schema signal', '{signal_writer, signal_builder, signal_api, signal_admin}'),
            (format('temporary on database %I', current_database()), '{signal_writer, signal_builder, signal_admin}'),
            ('execute on function signal.ensure_day(date)', '{signal_writer, signal_builder, signal_admin}'),

            -- The writer stores events and cannot read them. It sees the ids of the ledger, to
            -- recognise duplicates. On the workers of a cluster no role is a member of another, so
            -- the API and the admin are named too.
            ('insert on signal.events', '{signal_writer, signal_api, signal_admin}'),
            (
                'insert, select (client_event_id) on signal.event_keys',
                '{signal_writer, signal_api, signal_admin}'
            ),
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

            -- The reader sees the views of one schema, which need no right on the tables.
            ('usage on schema signal_reporting', '{signal_reader}'),
            -- Each by name: a view that somebody else adds there is nobody's but theirs to grant.
            (
                'select on signal_reporting.instance, signal_reporting.days, signal_reporting.app_days,'
                ' signal_reporting.rollup_days, signal_reporting.rollup_freshness,'
                ' signal_reporting.books, signal_reporting.drops, signal_reporting.intake,'
                ' signal_reporting.bots',
                '{signal_reader}'
            ),

            -- These see rollups, and the counts from which the labels beside them are made.
            ('select on signal.builds', '{signal_api, signal_admin}'),
            (
                'select on signal.days, signal.books, signal.instance, signal.address_gaps, signal.day_keys',
                '{signal_builder, signal_api, signal_admin}'
            ),
            ('select on signal.expected_events', '{signal_builder, signal_api, signal_admin}'),
            ('select on signal.intake, signal.bots', '{signal_builder, signal_api, signal_admin}'),

            -- The API stores events, and lets its own admins look at raw events; each look is
            -- audited.
            ('select on signal.events', '{signal_api}'),
            ('execute on function signal.audit_read(bytea, bigint)', '{signal_api, signal_admin}'),

            -- The admin purges and erases. It has the rights of the others as their member.
            ('select, delete on signal.events, signal.event_keys, signal.landed_files', '{signal_admin}'),
            ('update on signal.days', '{signal_admin}'),
            ('select, insert on signal.receipts, signal.seen_days', '{signal_admin}'),
            ('select on signal.audit', '{signal_admin}'),
            ('execute on function signal.audit_operator(text, date, bytea, jsonb)', '{signal_admin}'),
            (
                'execute on function signal.drop_partition(date), signal.make_partition(date)',
                '{signal_admin}'
            ),
            (
                'execute on function signal.erase_entity_from_purged_days(text, text, uuid, bytea)',
                '{signal_admin}'
            )
        ) as g (privileges, roles)
        join pg_roles as r on r.rolname = any (g.roles::text[])
    loop
        -- On a Citus cluster only the two large tables are on the workers. Elsewhere nobody reads
        -- the setting.
        perform set_config(
            'citus.enable_ddl_propagation',
            case when wanted.privileges ~ ' on signal\.(events|event_keys)\M' then 'on' else 'off' end,
            true
        );
        execute format('grant %s to %I', wanted.privileges, wanted.rolname);
    end loop;
    perform set_config('citus.enable_ddl_propagation', 'off', true);

    -- Earlier versions let these roles add any entry to the audit.
    for wanted in
        select rolname from pg_roles where rolname in ('signal_writer', 'signal_api', 'signal_admin')
    loop
        execute format('revoke insert on signal.audit from %I', wanted.rolname);
    end loop;

    -- Earlier versions let the reader read tables of `signal`. What another login made there, only
    -- that login can revoke; without a right on the schema, the reader does not reach it.
    for wanted in
        select c.relname
        from pg_class as c
        where c.relnamespace = 'signal'::regnamespace and pg_has_role(c.relowner, 'usage') and exists (
            select from aclexplode(c.relacl) as a
            join pg_roles as r on r.oid = a.grantee
            where r.rolname = 'signal_reader'
        )
    loop
        execute format('revoke all on signal.%I from signal_reader', wanted.relname);
    end loop;
    if exists (select from pg_roles where rolname = 'signal_reader') then
        revoke usage on schema signal from signal_reader;
    end if;
end
$$;

-- What holds for sessions of the reader. A value that somebody has set is left alone.
do $$
declare
    wanted record;
begin
    for wanted in
        select w.name, w.value
        from (
            values
            ('search_path', 'signal_reporting'),
            ('default_transaction_read_only', 'on'),
            ('statement_timeout', '60s'),
            ('idle_in_transaction_session_timeout', '60s')
        ) as w (name, value)
        join pg_roles as r on r.rolname = 'signal_reader'
        where not exists (
            select from pg_db_role_setting as s
            cross join unnest(s.setconfig) as held
            where s.setdatabase = 0 and s.setrole = r.oid and held like w.name || '=%'
        )
    loop
        execute format('alter role signal_reader set %I = %L', wanted.name, wanted.value);
    end loop;
    -- A dashboard must not take all connections of the server from the ingest.
    if exists (select from pg_roles where rolname = 'signal_reader' and rolconnlimit = -1) then
        alter role signal_reader connection limit 20;
    end if;
exception when insufficient_privilege or internal_error or unique_violation then
    null;  -- Another login made the role, or a migration of another database set it just now.
end
$$;

-- PostgreSQL lets everybody make temporary tables, which fill the disk. The roles that need them
-- have the right above. A database that holds other people's tables too is left as it is.
do $$
begin
    if exists (
        select from pg_database as d
        cross join aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) as a
        where d.datname = current_database() and a.grantee = 0 and a.privilege_type = 'TEMPORARY'
            and pg_has_role(d.datdba, 'usage')
    ) and not exists (
        select from pg_class as c
        join pg_namespace as n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p', 'v', 'm', 'f')
            and n.nspname not in ('signal', 'signal_reporting', 'information_schema')
            and n.nspname !~ '^pg_'
            and not exists (select from pg_depend where objid = c.oid and deptype = 'e')
    ) then
        execute format('revoke temporary on database %I from public', current_database());
    end if;
end
$$;
