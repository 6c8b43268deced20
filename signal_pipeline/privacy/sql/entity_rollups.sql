-- The tables of rollups that have entities. They are found by their guard, as the function
-- erase_entity_from_purged_days finds them: a renamed rollup has left a table without a model.
select c.relname::text
from pg_trigger as t
join pg_class as c on c.oid = t.tgrelid
where t.tgfoid = 'signal.guard_rollup()'::regprocedure and t.tgname = 'guard_delete'
    and c.relnamespace = 'signal'::regnamespace
    and 2 = (
        select count(*) from pg_attribute
        where attrelid = t.tgrelid and attname in ('entity_type', 'entity_id') and not attisdropped
    )
order by 1
