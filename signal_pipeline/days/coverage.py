"""Coverage: which days of a window can be known, and why the others cannot.

An unknown day is never a zero (requirement 8.6). Every report, and every answer to a data
protection officer, asks here. `freshness.py` says how fresh the rollups of a known day are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from signal_pipeline.days.calendar import NotMigratedError, days_between, today_utc
from signal_pipeline.postgres.database import Connection

ONE_DAY = timedelta(days=1)
MOST_SPANS = 5
State = Literal["open", "purged"]
Span = tuple[date, date]  # The first and the last of consecutive days.


@dataclass(frozen=True, slots=True)
class Coverage:
    """The days `first` to `last`, inclusive, as a caller asked for them.

    PostgreSQL's clock and this machine's can give different UTC dates: `today` is the earlier one,
    `latest` the later one. A day is over, or still to come, only if both clocks say so. `states`
    holds the days that have a row. A day without a row never had an event or a build.
    """

    first: date
    last: date
    start_date: date
    installed: date
    today: date
    latest: date
    states: Mapping[date, State]

    @property
    def known_span(self) -> Span:
        """The part of the window that can hold events. An empty part ends before it begins."""
        # A machine whose clock is ahead of ours can already have made tomorrow's row.
        return max(self.first, self.start_date), min(self.last, max([self.latest, *self.states]))

    @property
    def purged(self) -> list[date]:
        """The days whose raw events are gone."""
        return [day for day, state in self.states.items() if state == "purged"]

    @property
    def untouched(self) -> list[date]:
        """The days of the window, from the start date to yesterday, that have no row."""
        return [
            day
            for day in days_between(*self.known_span)
            if day < self.today and day not in self.states
        ]

    def cuts(self, first: date, last: date) -> bool:
        """True if sums over `first` to `last` lack days.

        Such days are before the start date, outside the window, or not over.
        """
        known_first, known_last = self.known_span
        return first < known_first or last > known_last or last >= self.today

    @property
    def never_recorded(self) -> list[date]:
        """The untouched days before the installation: they are unknown until a replay."""
        return [day for day in self.untouched if day < self.installed]

    def notes(self) -> list[str]:
        """Return notes on the days of the window that nobody can know, whatever was built."""
        before = (
            [(self.first, min(self.last, self.start_date - ONE_DAY))]
            if self.first < self.start_date
            else []
        )
        after = (
            [(max(self.first, self.latest + ONE_DAY), self.last)] if self.last > self.latest else []
        )
        return [
            *_note(before, f"are before the start date {self.start_date} and unknown"),
            *_note(after, "are still to come and unknown"),
        ]

    def today_note(self, *, is_built: bool = True) -> list[str]:
        """Return a note that today is not over, if it is in the window."""
        if self.last < self.today or self.first > self.latest:
            return []
        name = f"today, {self.today}, is not over"
        if self.today < self.latest:
            name = (
                f"today is {self.today} or {self.latest}, since the clocks of PostgreSQL and of"
                " this machine disagree, and is not over"
            )
        if is_built:
            return [f"{name}: its numbers are partial"]
        return [f"{name} and not built yet: it is not in these numbers"]


def read_coverage(connection: Connection, first: date, last: date) -> Coverage:
    """Return the coverage of the days `first` to `last`, inclusive.

    Raises NotMigratedError without a start date.
    """
    instance = connection.execute(
        "select start_date, (created_at at time zone 'UTC')::date,"
        " (clock_timestamp() at time zone 'UTC')::date from signal.instance"
    ).fetchone()
    if instance is None:
        raise NotMigratedError("the database has no start date: run `signal-pipeline migrate`")
    start_date, installed, there = instance
    rows = connection.execute(
        "select day, state from signal.days where day between %s and %s order by day", [first, last]
    ).fetchall()
    today, latest = sorted((there, today_utc()))
    return Coverage(first, last, start_date, installed, today, latest, dict(rows))


def why_nothing_is_kept(connection: Connection, day: date) -> str | None:
    """Return a sentence on why no raw event of the day can be found.

    Returns None if the day is neither purged, before the start date, nor still to come.
    """
    coverage = read_coverage(connection, day, day)
    if coverage.purged:
        return _why_purged(connection, day)
    if day in coverage.states:
        return None
    if day < coverage.start_date:
        return (
            f"{day} is before the start date {coverage.start_date}: no event of it was ever stored"
        )
    if day > coverage.latest:
        return f"{day} is still to come: no event of it can be stored yet"
    return None


def _why_purged(connection: Connection, day: date) -> str:
    receipt = connection.execute(
        "select purged_at, raw_events from signal.receipts where day = %s", [day]
    ).fetchone()
    assert receipt is not None  # Every purged day has a receipt.
    purged_at, events = receipt
    return (
        f"{day} is purged: its {events:,} raw event(s) were deleted at {purged_at:%Y-%m-%d %H:%M}"
        " UTC, with every hash and session; who was among them cannot be told any more"
    )


def today_notes(connection: Connection, day: date) -> list[str]:
    """Return a note if the day is not over: what was not found can still come."""
    is_over = day < read_coverage(connection, day, day).today
    return [] if is_over else [f"{day} is not over: more of its events can still come"]


def days_note(days: Iterable[date], what: str) -> list[str]:
    """Return a note on some days: how many, which, and what is true of them; [] for no days."""
    return _note(spans_of(days), what)


def _note(spans: Sequence[Span], what: str) -> list[str]:
    return [f"{_count(spans):,} day(s) {what}: {name_spans(spans)}"] if spans else []


def name_spans(spans: Sequence[Span]) -> str:
    """Return spans of days in words; of many, only the first ones are named."""
    shown = ", ".join(
        str(first) if first == last else f"{first} to {last}" for first, last in spans[:MOST_SPANS]
    )
    more = _count(spans[MOST_SPANS:])
    return f"{shown} and {more:,} more day(s)" if more else shown


def _count(spans: Sequence[Span]) -> int:
    return sum((last - first).days + 1 for first, last in spans)


def spans_of(days: Iterable[date]) -> list[Span]:
    """Return the spans that the days make up, each as long as possible."""
    spans: list[Span] = []
    for day in sorted(days):
        if spans and day - spans[-1][1] == ONE_DAY:
            spans[-1] = (spans[-1][0], day)
        else:
            spans.append((day, day))
    return spans
