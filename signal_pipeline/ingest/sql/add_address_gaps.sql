insert into signal.address_gaps as g (day, app_name, missing, invalid)
select day, app_name, missing, invalid
from unnest(%s::date[], %s::text[], %s::bigint[], %s::bigint[])
    as n (day, app_name, missing, invalid)
order by day, app_name
on conflict (day, app_name)
do update set missing = g.missing + excluded.missing, invalid = g.invalid + excluded.invalid
