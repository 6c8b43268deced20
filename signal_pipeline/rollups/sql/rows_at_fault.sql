select count(*)
from signal.{model}
where activity_date between %(first)s and %(last)s and {condition}
