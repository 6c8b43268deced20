-- What exists of one rollup: its columns in order, its key, its triggers.
select
    (
        select
            jsonb_agg(
                jsonb_build_object(
                    'name', a.attname,
                    'data_type', format_type(a.atttypid, a.atttypmod),
                    'nullable', not a.attnotnull,
                    'comment', col_description(a.attrelid, a.attnum)
                )
                order by a.attnum
            )
        from pg_attribute as a
        where a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
    ) as columns,
    (
        select array_agg(a.attname::text order by k.position)
        from pg_index as i
        cross join unnest(i.indkey) with ordinality as k (attnum, position)
        join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = k.attnum
        where i.indrelid = t.oid and i.indisprimary
    ) as key,
    array(
        -- A disabled guard does not count, so it is made again.
        select tgname::text from pg_trigger where tgrelid = t.oid and not tgisinternal and tgenabled in ('O', 'A')
    ) as triggers,
    obj_description(t.oid, 'pg_class') as comment
from pg_class as t
where t.oid = to_regclass('signal.' || %(table)s)
