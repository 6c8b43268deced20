with locked as (
    select day from signal.days where day = any(%s) order by day for no key update
)
update signal.days as d
set version = d.version + 1, changed_at = clock_timestamp()
from locked
where d.day = locked.day
