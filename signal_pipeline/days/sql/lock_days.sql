-- In day order, before anything is decided: a purge that holds one of these days is waited for.
select day, state from signal.days where day = any(%s) order by day for key share
