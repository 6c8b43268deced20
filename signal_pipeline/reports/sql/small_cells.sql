-- Rows of an answer that are left out below admin. The rule, and why it leaves nothing to subtract: docs/privacy.md.
-- A group is one day, app and event type. It is split by one dimension at a time; its crossing is the split by all at once,
-- of which only the smallest cell is needed here.
with parts as ({parts}),
splits as (
    select
        *,
        count(*) over split as cells,
        sum(users) over split as users_of_split,
        count(*) filter (where users < %(least)s) over split as small_cells,
        coalesce(sum(users) filter (where users < %(least)s) over split, 0) as small_users,
        -- The large cells before this one, in the order in which they are left out. No count decides that order, since whoever
        -- knows the rule would learn from it.
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
        -- Small, or left out with the small ones until each of those could have any number of people from one to four.
        small_cells > 0 and (
            users < %(least)s
            or large_before = 0
            or small_users + users_before < (%(least)s - 1) * small_cells + %(least)s * large_before
        ) as is_hidden,
        -- A group of a few people, or one whose cells are known to be small by their number alone.
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
