-- The retention counts the age of a day in dates that left a sign, so that a jump of the clock
-- makes no day old.

create table signal.seen_days (
    day date primary key,
    confirmed boolean not null default false
);
comment on table signal.seen_days is
    'UTC dates on which Signal was at work or from which it has events; confirmed: a person said that the date has passed.';

-- Earlier versions kept no list, and a rebuild replaces the time of the build before it. So all
-- dates up to the last sign of an older installation are believed. A later date counts only if it
-- left a sign or a person confirmed it.
insert into signal.seen_days (day)
select generate_series(
    (i.created_at at time zone 'UTC')::date,
    -- A sign of a clock that ran ahead is no proof that the days until then have passed.
    least(last_sign, (now() at time zone 'UTC')::date),
    interval '1 day'
)::date
from signal.instance as i
cross join (
    select greatest(
        (select max(received_on) from signal.intake),
        (select max(built_at) at time zone 'UTC' from signal.builds),
        (select max(purged_at) at time zone 'UTC' from signal.receipts)
    )::date as last_sign
) as signs;
