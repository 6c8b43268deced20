-- The memberships that are missing. The API does what writer and reader do; the admin does what all
-- others do.
select given.rolname, member.rolname
from (
    values
    ('signal_api', '{signal_writer, signal_reader}'),
    ('signal_admin', '{signal_writer, signal_builder, signal_reader}')
) as m (member, roles)
join pg_roles as member on member.rolname = m.member
join pg_roles as given on given.rolname = any (m.roles::text[])
where not pg_has_role(member.oid, given.oid, 'usage')
