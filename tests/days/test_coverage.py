"""Which days of a window can be known: each is or is not, for one reason.

It also tests how a note names days.
"""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from signal_pipeline.days.coverage import Coverage, days_note

ONE = timedelta(days=1)
START, TODAY = date(2026, 5, 1), date(2026, 5, 20)
some_days = st.dates(date(2026, 4, 25), date(2026, 5, 25))


@given(
    some_days,
    some_days,
    st.dictionaries(some_days, st.sampled_from(["open", "purged"])),
    st.integers(0, 3),
)
def test_each_day_of_a_window_is_unknown_or_known_once(
    one: date, other: date, states: dict[date, str], ahead: int
) -> None:
    """Another clock can be days ahead."""
    first, last = sorted((one, other))
    latest = TODAY + ahead * ONE
    inside = {
        day: state
        for day, state in states.items()
        if first <= day <= last and START <= day <= latest
    }
    coverage = Coverage(first, last, START, START, TODAY, latest, inside)  # type: ignore[arg-type]
    known_first, known_last = coverage.known_span
    known = max((known_last - known_first).days + 1, 0)
    unknown = [int(note.split()[0]) for note in coverage.notes()]
    assert known + sum(unknown) == (last - first).days + 1
    assert set(coverage.untouched).isdisjoint(inside)
    assert all(START <= day < TODAY for day in coverage.untouched)
    whole = not unknown and known_last < TODAY
    assert coverage.cuts(first, last) is not whole


@given(st.sets(some_days))
def test_a_note_names_its_days_by_ranges(days: set[date]) -> None:
    notes = days_note(days, "are so")
    assert bool(notes) == bool(days)
    for note in notes:
        count, _, shown = note.replace("(s) are so", "").partition(" day: ")
        shown, _, more = shown.partition(" and ")
        spans = [list(map(date.fromisoformat, span.split(" to "))) for span in shown.split(", ")]
        named = [span[0] + n * ONE for span in spans for n in range((span[-1] - span[0]).days + 1)]
        assert named == sorted(days)[: len(named)]
        assert int(count) == len(days) == len(named) + int(more.split()[0] if more else 0)
        assert len(spans) == 5 or not more
