-- What "missing raw events" is measured by, in one place: how many raw events each day should hold.
--
-- The books of a day are summed only for the days that a query asks for, because they are a lateral
-- subquery of the day.
create view signal.expected_events as
select
    d.day,
    b.accepted,
    b.erased,
    case when d.state = 'purged' then 0 else b.accepted - b.erased end as expected
from signal.days as d
cross join lateral (
    select
        coalesce(sum(events) filter (where outcome = 'accepted'), 0)::bigint as accepted,
        coalesce(sum(events) filter (where outcome = 'erased'), 0)::bigint as erased
    from signal.books
    where day = d.day and outcome in ('accepted', 'erased')
) as b;
comment on view signal.expected_events is
    'How many raw events each day should hold by the books: those accepted without those erased, and none once the day is purged.';
