-- Signal's distributed tables, with their distribution columns, how many shards each has, and how
-- many copies its shard with the most copies has.
-- Runs only where the extension citus is installed. Partitions follow their parent.
select
    c.relname::text as name, column_to_column_name(p.logicalrelid, p.partkey) as by_column,
    s.shards, s.copies
from pg_catalog.pg_dist_partition as p
inner join pg_class as c on c.oid = p.logicalrelid
inner join pg_namespace as n on n.oid = c.relnamespace
cross join lateral (
    select count(*) as shards, coalesce(max(placed.copies), 0) as copies
    from pg_catalog.pg_dist_shard as shard
    cross join lateral (
        select count(*) as copies
        from pg_catalog.pg_dist_placement
        where shardid = shard.shardid and shardstate = 1  -- Active.
    ) as placed
    where shard.logicalrelid = p.logicalrelid
) as s
where n.nspname = 'signal' and not c.relispartition and p.partmethod = 'h'
order by c.relname
