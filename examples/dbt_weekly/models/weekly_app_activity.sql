-- Each ISO week (Monday to Sunday, UTC) of each app.
--
-- There is no number of people of a week. A person's hash changes at midnight UTC, so that nobody
-- can be followed from day to day: a sum of `daily_users` would count a person who came on five
-- days five times. What exists is how many came on the busiest day, and on the mean day. Both are
-- named as that, and so no BI tool can take them for the people of the week.
--
-- Events are events, whichever day they belong to, and add up.

with built_days as (

    -- The days that the rollup knows. A day that was never built is unknown, not zero.
    select
        day,
        date_trunc('week', day)::date as week_start,
        freshness = 'fresh' and day < (now() at time zone 'UTC')::date as is_final
    from {{ source('signal', 'rollup_days') }}
    where rollup = 'daily_app_activity' and built_at is not null

),

apps as (

    select distinct app_name from {{ source('signal', 'daily_app_activity') }}

)

select
    built_days.week_start,
    apps.app_name,
    coalesce(sum(activity.events), 0)::bigint as events,
    -- On a built day without a row, nobody came: that is a true zero.
    max(coalesce(activity.daily_users, 0)) as users_on_busiest_day,
    round(avg(coalesce(activity.daily_users, 0)), 1) as users_on_mean_day,
    count(*) as days_built,
    count(*) = 7 and bool_and(built_days.is_final) as is_complete
from built_days
cross join apps
left join {{ source('signal', 'daily_app_activity') }} as activity
    on activity.activity_date = built_days.day and activity.app_name = apps.app_name
group by built_days.week_start, apps.app_name
