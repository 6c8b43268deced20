select day from signal.days where state = 'open' and day < %s order by day
