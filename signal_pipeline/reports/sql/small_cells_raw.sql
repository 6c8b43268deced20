-- Each set of people is a SELECT DISTINCT, which hashes; count(distinct) would sort it.
with people as materialized (
    select distinct
        (created_at at time zone 'UTC')::date as activity_date,
        app_name,
        event_type,
        coalesce(route, '(none)') as route,
        device_type,
        browser_family,
        os_family,
        user_hash
    from signal.events
    where created_at >= %(start)s and created_at < %(end)s {filters}
),
-- Far fewer rows than in `people`: a person uses one machine and visits many routes.
seats as materialized (
    select distinct activity_date, app_name, event_type, device_type, browser_family, os_family, user_hash
    from people
),
on_routes as (
    select distinct activity_date, app_name, event_type, route, user_hash
    from people
),
atoms as (
    select activity_date, app_name, event_type, count(*) as users
    from people
    group by activity_date, app_name, event_type, route, device_type, browser_family, os_family
)
select activity_date, app_name, event_type, 'group' as dimension, '' as value, count(*) as users
from (select distinct activity_date, app_name, event_type, user_hash from seats) as in_groups
group by activity_date, app_name, event_type
union all
select activity_date, app_name, event_type, 'route', route, count(*)
from on_routes
group by activity_date, app_name, event_type, route
union all
select activity_date, app_name, event_type, 'device_type', device_type, count(*)
from (select distinct activity_date, app_name, event_type, device_type, user_hash from seats) as on_devices
group by activity_date, app_name, event_type, device_type
union all
select activity_date, app_name, event_type, 'browser_family', browser_family, count(*)
from (select distinct activity_date, app_name, event_type, browser_family, user_hash from seats) as on_browsers
group by activity_date, app_name, event_type, browser_family
union all
select activity_date, app_name, event_type, 'os_family', os_family, count(*)
from (select distinct activity_date, app_name, event_type, os_family, user_hash from seats) as on_systems
group by activity_date, app_name, event_type, os_family
union all
select activity_date, app_name, event_type, 'crossing', '', min(users)
from atoms
group by activity_date, app_name, event_type
