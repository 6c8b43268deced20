-- By which version of the rules of names (events/browsers.py) a day was hashed. Days of before were by the first.
alter table signal.day_keys add column hash_rules smallint not null default 1 check (hash_rules > 0);
alter table signal.day_keys drop constraint day_keys_pkey, add primary key (day, key_id, hash_rules);
comment on table signal.day_keys is
    'Which secrets hashed a day, by key id, and by which rules of names. Two rows for one day: its users are over-counted.';
