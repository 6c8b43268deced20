-- The events that the present build counted while it read them, and asserted before its commit. A
-- day without events has no rows.
select day as activity_date, raw_events as events
from signal.builds
where rollup = {rollup} and raw_events > 0 and day between %(first)s and %(last)s
