select activity_date, app_name, event_type, {dimension}::text as dimension, {value}::text as value, users
from signal.{rollup}
where
    activity_date between %(first)s and %(last)s
    and event_type <> '(all)'
    and (%(app_name)s::text is null or app_name = %(app_name)s)
