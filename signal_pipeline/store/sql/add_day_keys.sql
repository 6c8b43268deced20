insert into signal.day_keys (day, key_id)
select day, %s from unnest(%s::date[]) as n (day) order by day
on conflict do nothing
