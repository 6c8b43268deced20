-- What exists of a reporting view: its columns in order, their comments, its own comment.
select
    array_agg(a.attname::text order by a.attnum) as columns,
    array_agg(col_description(a.attrelid, a.attnum) order by a.attnum) as column_comments,
    obj_description(v.oid, 'pg_class') as view_comment
from pg_class as v
join pg_namespace as n on n.oid = v.relnamespace
join pg_attribute as a on a.attrelid = v.oid and a.attnum > 0 and not a.attisdropped
where n.nspname = 'signal_reporting' and v.relname = %(view)s
group by v.oid
