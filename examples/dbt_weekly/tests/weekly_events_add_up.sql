-- Fails with a row per app whose weeks do not hold the events of its days.
--
-- Only days before the newest week are compared: today's numbers grow while dbt runs.

-- In Dagster this is a check of that model.
{{ config(meta={'dagster': {'ref': {'name': 'weekly_app_activity'}}}) }}

with newest as (

    select max(week_start) as week_start from {{ ref('weekly_app_activity') }}

),

weekly as (

    select app_name, sum(events) as events
    from {{ ref('weekly_app_activity') }}
    where week_start < (select week_start from newest)
    group by app_name

),

daily as (

    select app_name, sum(events) as events
    from {{ source('signal', 'daily_app_activity') }}
    where activity_date < (select week_start from newest)
    group by app_name

)

select *
from weekly
full join daily using (app_name)
where coalesce(weekly.events, 0) <> coalesce(daily.events, 0)
