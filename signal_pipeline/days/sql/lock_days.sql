-- Locks in the order of days, before anything is decided, and waits for a purge that holds one of
-- these days.
select day, state from signal.days where day = any(%s) order by day for key share
