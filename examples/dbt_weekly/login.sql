-- Makes dbt's login, which reads `signal_reporting` and owns one schema of its own.
-- The owner of the database runs this after `signal-pipeline migrate`. A second run sets the
-- password. The password comes from the environment: SIGNAL_DBT_PASSWORD.
set client_min_messages = warning;
\getenv password SIGNAL_DBT_PASSWORD

select 'create role signal_dbt login'
where not exists (select from pg_roles where rolname = 'signal_dbt') \gexec
alter role signal_dbt password :'password';
-- The limits of the reader's own sessions, such as read-only, do not pass to its members.
grant signal_reader to signal_dbt;
create schema if not exists signal_dbt authorization signal_dbt;
-- For incremental models and snapshots, which dbt makes by way of temporary tables.
select format('grant temporary on database %I to signal_dbt', current_database()) \gexec
