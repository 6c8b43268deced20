-- The rows of an answer that callers below admin do not get. docs/privacy.md has the rule, and the
-- reason why nothing can be worked out by subtraction. A group is one day, app and event type. It
-- is split by one dimension at a time. Its crossing is the split by all dimensions at once; only
-- the smallest cell of it is needed here.
with parts as ({parts}),
splits as (
    select
        *,
        dimension in ('device_type', 'browser_family', 'os_family') as is_of_machine,
        dimension in ('device_type', 'os_family') as is_device_or_system,
        count(*) filter (where dimension in ('device_type', 'os_family')) over all_splits
            as devices_and_systems,
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
        all_splits as (partition by activity_date, app_name, event_type),
        split as (partition by activity_date, app_name, event_type, dimension),
        before as (
            partition by activity_date, app_name, event_type, dimension
            order by value collate "C" desc rows between unbounded preceding and 1 preceding
        )
),
judged as (
    select
        *,
        case
            -- Device, browser and system nest (whoever has iOS has a phone or a tablet), so that the
            -- sums of one split give back the small cells of another: all three go, or none.
            when is_of_machine then bool_or(is_of_machine and small_cells > 0) over all_splits
            -- Small, or left out with the small ones until each of those could have any number of
            -- people from one to four.
            else small_cells > 0 and (
                users < %(least)s
                or large_before = 0
                or small_users + users_before
                < (%(least)s - 1) * small_cells + %(least)s * large_before
            )
        end as is_hidden,
        -- A group of a few people, or one with so few for its cells that every cell is small.
        bool_or(dimension <> 'crossing' and users_of_split < cells + %(least)s - 1) over all_splits
        -- Device and system together can need more people than either alone. Three systems (macOS,
        -- Windows, iOS) on three devices (desktop, phone, tablet) need at least four people if iOS
        -- is on both a phone and a tablet. Together they never need more people than they have
        -- cells, less one.
        or bool_or(
            is_device_or_system and users_of_split < devices_and_systems - 1 + %(least)s - 1
        ) over all_splits
        or not bool_or(dimension = 'group') over all_splits
        -- Built in part: what comes later can close the group, and nobody must see it before. Nothing
        -- comes later on the days of `final`. Each dimension is one bit.
        or not activity_date = any(%(final)s::date[])
        and bit_or(1 << array_position(%(dimensions)s::text[], dimension)) over all_splits
        < (2 << cardinality(%(dimensions)s::text[])) - 2
        -- So can what replaces the older rows of a rollup that was not built with the others. On a
        -- purged day nothing replaces them, but they say who came between the two builds.
        or activity_date = any(%(mixed)s::date[]) as is_closed
    from splits
    window all_splits as (partition by activity_date, app_name, event_type)
)
select {columns}
from judged
cross join lateral (values {kinds}) as kinds (kind)
where dimension = %(dimension)s and (is_hidden or is_closed) {filters}
group by {keys}
having count(*) > 0
