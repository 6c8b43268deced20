insert into signal.day_keys (day, key_id, hash_rules)
select day, %s, %s from unnest(%s::date[]) as n (day) order by day
on conflict do nothing
