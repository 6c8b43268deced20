-- Makes the logins that Signal's parts use, and Dagster's database.
-- The owner of the database runs this after `signal-pipeline migrate`. A second run sets the
-- passwords again.
-- The passwords come from the environment: CODE_PASSWORD, API_PASSWORD, DAGSTER_PASSWORD.
set client_min_messages = warning;
\getenv code_password CODE_PASSWORD
\getenv api_password API_PASSWORD
\getenv dagster_password DAGSTER_PASSWORD

select format('create role %I login', name)
from unnest(array['signal_code', 'signal_wire', 'signal_dagster']) as name
where not exists (select from pg_roles where rolname = name) \gexec
alter role signal_code password :'code_password';
alter role signal_wire password :'api_password';
alter role signal_dagster password :'dagster_password';
grant signal_admin to signal_code;
grant signal_api to signal_wire;

grant signal_dagster to current_user;  -- Otherwise only a superuser could make its database.
select 'create database signal_dagster owner signal_dagster'
where not exists (select from pg_database where datname = 'signal_dagster') \gexec
