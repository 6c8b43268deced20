-- A day ($1), with the number of events that it should hold by the books.
select
    d.version,
    d.state,
    (
        select coalesce(sum(case b.outcome when 'accepted' then b.events else -b.events end), 0)::bigint
        from signal.books as b
        where b.day = d.day and b.outcome in ('accepted', 'erased')
    ) as expected_events
from signal.days as d
where d.day = $1
