-- Signal's distributed tables with their distribution columns.
-- Runs only where the extension citus is installed. Partitions follow their parent.
select c.relname::text, column_to_column_name(p.logicalrelid, p.partkey)
from pg_catalog.pg_dist_partition as p
inner join pg_class as c on c.oid = p.logicalrelid
inner join pg_namespace as n on n.oid = c.relnamespace
where n.nspname = 'signal' and not c.relispartition and p.partmethod = 'h'
order by c.relname
