-- The rows of an answer that callers below admin do not get. docs/privacy.md has the rule, and the
-- reason why nothing can be worked out by subtraction. A group is one day, app and event type. It
-- is split by one dimension at a time. Its crossing is the split by all dimensions at once; only
-- the smallest cell of it is needed here.
with parts as ({parts}),
splits as (
    select
        *,
        count(*) over split as cells,
        sum(users) over split as users_of_split,
        count(*) filter (where users < %(least)s) over split as small_cells,
        coalesce(sum(users) filter (where users < %(least)s) over split, 0) as small_users,
        -- The large cells before this one, in the order in which cells are left out. Counts must
        -- not decide that order, since anybody who knows the rule would learn from it.
        count(*) filter (where users >= %(least)s) over before as large_before,
        coalesce(sum(users) filter (where users >= %(least)s) over before, 0) as users_before
    from parts
    window
        split as (partition by activity_date, app_name, event_type, dimension),
        before as (
            partition by activity_date, app_name, event_type, dimension
            order by value collate "C" desc rows between unbounded preceding and 1 preceding
        )
),
judged as (
    select
        *,
        -- Small, or left out with the small ones until each of those could have any number of
        -- people from one to four.
        small_cells > 0 and (
            users < %(least)s
            or large_before = 0
            or small_users + users_before < (%(least)s - 1) * small_cells + %(least)s * large_before
        ) as is_hidden,
        -- A group of a few people, or one whose number of cells alone reveals that they are small.
        bool_or(dimension <> 'crossing' and small_cells = cells and users_of_split < cells + %(least)s - 1) over all_splits
        or not bool_or(dimension = 'group') over all_splits as is_closed
    from splits
    window all_splits as (partition by activity_date, app_name, event_type)
)
select {columns}
from judged
cross join lateral (values {kinds}) as kinds (kind)
where dimension = %(dimension)s and (is_hidden or is_closed) {filters}
group by {keys}
having count(*) > 0
