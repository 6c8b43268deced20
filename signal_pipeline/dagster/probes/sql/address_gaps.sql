-- App days on which more than a few accepted events, and a high share of them, had no address.
select g.day, g.app_name, (g.missing + g.invalid)::float8 / sum(b.events)::float8 as share
from signal.address_gaps as g
join signal.books as b on b.day = g.day and b.app_name = g.app_name and b.outcome = 'accepted'
where g.day between %(first)s and %(last)s and g.missing + g.invalid >= %(few)s
group by g.day, g.app_name, g.missing, g.invalid
having g.missing + g.invalid > %(share)s * sum(b.events)
order by g.day, g.app_name
