"""Small cells cannot be got back: whatever a hidden number is, the answer is the same."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from signal_pipeline.api.graphql.suppression import MIN_USERS, Cell, kept

TYPES = ["a", "b", "c", "d"]
# A group (an app's day, say): for each of its event types, its people and how often each of them clicked.
Group = dict[str, dict[int, int]]
groups = st.lists(
    st.dictionaries(
        st.sampled_from(TYPES),
        st.dictionaries(st.integers(0, 12), st.integers(1, 5), min_size=1, max_size=12),
        min_size=1,
    ),
    max_size=4,
)
Row = tuple[int, str, int, int]  # The group, the type, events, users.


def answer(data: Sequence[Group]) -> tuple[list[Row], list[Row]]:
    """The rows that are shown and those that are left out, as a rollup would have them."""
    rows: list[Row] = []
    for number, group in enumerate(data):
        for name, clicks in group.items():
            rows.append((number, name, sum(clicks.values()), len(clicks)))
        everybody = {user for clicks in group.values() for user in clicks}
        rows.append((number, "(all)", sum(row[2] for row in rows if row[0] == number), len(everybody)))
    shown = kept([Cell(number, name == "(all)", users) for number, name, _, users in rows])
    return (
        [row for row, show in zip(rows, shown, strict=True) if show],
        [row for row, show in zip(rows, shown, strict=True) if not show],
    )


@given(groups)
def test_no_row_under_five_users_is_shown_and_all_rows_are_accounted_for(data: Sequence[Group]) -> None:
    shown, left_out = answer(data)
    assert all(users >= MIN_USERS for *_, users in shown)
    assert len(shown) + len(left_out) == sum(len(group) + 1 for group in data)


@given(groups, st.data())
def test_the_answer_does_not_depend_on_what_it_hides(data: Sequence[Group], draw: st.DataObject) -> None:
    """Change the people and clicks of any hidden type, keeping it small: nobody could tell from the answer."""
    shown, left_out = answer(data)
    changed = [{name: dict(clicks) for name, clicks in group.items()} for group in data]
    for number, name, _, users in left_out:
        if name != "(all)" and users < MIN_USERS:
            changed[number][name] = draw.draw(
                st.dictionaries(st.integers(100, 120), st.integers(1, 9), min_size=1, max_size=MIN_USERS - 1)
            )
    assert answer(changed)[0] == shown


@given(groups)
def test_a_total_alone_is_shown_where_its_whole_group_would_show_it(data: Sequence[Group]) -> None:
    """Another question for the totals, or for one type, tells no more than the question for everything."""
    everything = [row for shown_or_not in answer(data) for row in shown_or_not]
    cells = {row: Cell(row[0], row[1] == "(all)", row[3]) for row in everything}
    for name in ("(all)", *TYPES):
        asked = [row for row in everything if row[1] == name]
        parts = [cell for cell in cells.values() if not cell.is_total] if name == "(all)" else []
        shown = kept([cells[row] for row in asked], parts)
        assert [row for row, show in zip(asked, shown, strict=True) if show] == [
            row for row in asked if row in answer(data)[0]
        ]


@given(groups)
def test_nothing_is_hidden_without_a_reason(data: Sequence[Group]) -> None:
    """A total is left out only where one of its types is; without small rows everything is shown."""
    _, left_out = answer(data)
    small = {(number, name) for number, name, _, users in left_out if users < MIN_USERS}
    for number, name, _, users in left_out:
        assert users < MIN_USERS or (
            name == "(all)" and any(group == number for group, other in small if other != "(all)")
        )
