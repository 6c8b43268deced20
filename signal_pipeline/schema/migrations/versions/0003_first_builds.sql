alter table signal.builds add column first_built_at timestamptz not null default now();
update signal.builds set first_built_at = built_at;
comment on column signal.builds.first_built_at is 'The first of the builds by the same model that the last one ends.';
