insert into signal.bots as b (day, app_name, browser_family, os_family, device_type, events)
select day, app_name, browser_family, os_family, device_type, events
from unnest(%s::date[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[])
    as n (day, app_name, browser_family, os_family, device_type, events)
order by day, app_name, browser_family, os_family, device_type
on conflict (day, app_name, browser_family, os_family, device_type)
do update set events = b.events + excluded.events, changed_at = clock_timestamp()
