-- For each day of receipt, for each app of the catalogue and for all together (null): what was
-- received, and what of it was dropped for which reasons. Bots are left out, because they have a
-- check of their own.
with received as (
    select received_on, app_name, reason, sum(events)::bigint as events
    from signal.intake
    where received_on between %(first)s and %(last)s and reason <> 'bot'
    group by grouping sets ((received_on, app_name, reason), (received_on, reason))
)
select
    received_on,
    app_name,
    sum(events)::bigint as received,
    coalesce(sum(events) filter (where reason <> ''), 0)::bigint as dropped,
    coalesce(jsonb_object_agg(reason, events) filter (where reason <> ''), '{}') as reasons
from received
where app_name is distinct from '(unknown)'
group by received_on, app_name
order by received_on, app_name nulls first
