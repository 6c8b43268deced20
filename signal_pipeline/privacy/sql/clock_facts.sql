-- The dates can be in the future, if a clock was set back. The rule leaves those out.
select
    clock_timestamp() as database_now,
    (i.created_at at time zone 'UTC')::date as installed,
    array(
        select day from signal.seen_days
        union select received_on from signal.intake
        union select day from signal.books where outcome = 'accepted'
        union select (built_at at time zone 'UTC')::date from signal.builds
        union select (purged_at at time zone 'UTC')::date from signal.receipts
    ) as seen
from signal.instance as i
