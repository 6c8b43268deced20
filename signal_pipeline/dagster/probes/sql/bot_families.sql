-- The families of bots on an app's days from `first` to `last`, with those that changed most first.
-- For each family: how many bots there were, and how many are usual in as many days of the four
-- weeks before. The usual number is null if no earlier day recorded families.
with asked as (
    select app_name, first, last
    from unnest(%(apps)s::text[], %(firsts)s::date[], %(lasts)s::date[]) as n (app_name, first, last)
),
told as (
    select a.app_name, a.first, b.day
    from asked as a
    join signal.books as b
        on b.app_name = a.app_name and b.day between a.first - %(history)s::int and a.first - 1
    where not exists (
        select from signal.bots as o
        where o.app_name = b.app_name and o.day = b.day and o.browser_family = %(not_recorded)s
    )
    group by a.app_name, a.first, b.day
),
before as (
    select t.app_name, t.first, o.browser_family, o.os_family, o.device_type, sum(o.events)::float8 as events
    from told as t
    join signal.bots as o on o.app_name = t.app_name and o.day = t.day
    group by t.app_name, t.first, o.browser_family, o.os_family, o.device_type
),
now as (
    select a.app_name, a.first, o.browser_family, o.os_family, o.device_type, sum(o.events)::bigint as events
    from asked as a
    join signal.bots as o on o.app_name = a.app_name and o.day between a.first and a.last
    group by a.app_name, a.first, o.browser_family, o.os_family, o.device_type
),
compared as (
    select
        f.*,
        f.before * (a.last - a.first + 1)
        / (select nullif(count(*), 0) from told as t where t.app_name = f.app_name and t.first = f.first) as usual
    from (
        select
            app_name,
            first,
            browser_family,
            os_family,
            device_type,
            coalesce(now.events, 0) as events,
            coalesce(before.events, 0) as before
        from now
        full join before using (app_name, first, browser_family, os_family, device_type)
    ) as f
    join asked as a on a.app_name = f.app_name and a.first = f.first
)
select app_name, first, browser_family, os_family, device_type, events, usual
from compared
order by app_name, first, abs(events - coalesce(usual, 0)) desc, browser_family, os_family, device_type
