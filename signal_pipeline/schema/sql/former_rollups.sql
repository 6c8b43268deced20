-- The tables of rollups that have no model now, found by their guard.
select c.relname::text
from pg_trigger as t
join pg_class as c on c.oid = t.tgrelid
where t.tgfoid = to_regprocedure('signal.guard_rollup()') and t.tgname = 'guard_delete'
    and c.relnamespace = to_regnamespace('signal') and c.relname <> all(%(models)s)
order by 1
