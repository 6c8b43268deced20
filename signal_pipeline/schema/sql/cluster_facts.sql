-- What a distribution needs: the coordinator, and a node for the shards.
-- Runs only where the extension citus is installed.
select
    citus_is_coordinator() as is_coordinator,
    (
        select count(*)
        from pg_catalog.pg_dist_node
        where isactive and shouldhaveshards and noderole = 'primary'
    ) as nodes
