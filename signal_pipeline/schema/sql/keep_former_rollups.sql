-- Make the list of the removed rollups that of the given tables; change nothing that is right.
with returned as (
    delete from signal.former_rollups where rollup <> all(%(former)s)
)

insert into signal.former_rollups (rollup)
select unnest(%(former)s::text[])
on conflict do nothing
