-- Of the schema, if it exists: whether this user can act as its owner, and its comment.
select pg_has_role(nspowner, 'usage'), obj_description(oid, 'pg_namespace')
from pg_namespace
where nspname = 'signal'
