-- The entities with the most events of each app. People are counted by day, never added up.
with ranked as (
    select
        app_name,
        entity_type,
        entity_id,
        sum(events)::bigint as events,
        max(users)::bigint as most_users,
        count(*) as days,
        row_number() over (
            partition by app_name order by sum(events) desc, entity_type, entity_id
        ) as place
    from signal.daily_entity_activity
    where
        event_type = '(all)'
        and activity_date between %(first)s and %(last)s
        and (%(app)s::text is null or app_name = %(app)s)
    group by app_name, entity_type, entity_id
)
select app_name, entity_type, entity_id, events, most_users, days
from ranked
where place <= %(most)s
order by app_name, place
