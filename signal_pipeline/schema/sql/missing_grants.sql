-- The wanted privileges on one table or view that the roles do not have yet. Roles that do not
-- exist are left out.
select wanted.role, wanted.privilege
from unnest(%(roles)s::text[], %(privileges)s::text[]) as wanted (role, privilege)
join pg_roles as r on r.rolname = wanted.role
cross join pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
where n.nspname = %(schema)s and c.relname = %(relation)s
    and not has_table_privilege(r.oid, c.oid, wanted.privilege)
