insert into signal.day_keys (day, key_id, hash_rules)
select day, %s::text, %s::smallint from unnest(%s::date[]) as n (day) order by day
on conflict do nothing
