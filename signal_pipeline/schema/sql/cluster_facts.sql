-- What a distribution needs: the coordinator, a node for the shards, and the right of the owner.
-- Runs only where the extension citus is installed.
select
    citus_is_coordinator() as is_coordinator,
    (
        select count(*)
        from pg_catalog.pg_dist_node
        where isactive and shouldhaveshards and noderole = 'primary'
    ) as nodes,
    (
        select bool_and(pg_has_role(relowner, 'usage'))
        from pg_class
        where oid in (to_regclass('signal.events'), to_regclass('signal.event_keys'))
    ) as is_owner
