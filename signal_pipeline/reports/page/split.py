"""One rollup over a window of UTC days, and what can be said of its sums and its days.

Pure: no database, no text of the page. Events add up. People never do (requirement 8.3), so they
are reported only for single days. A day has a number, or is unknown or left out; a day without a
number is never a zero.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from statistics import median

from signal_pipeline.rollups.schema_yml import ALL_TYPES

LEFT_OUT, UNKNOWN, PARTIAL, STALE = "left out", "unknown", "partial", "stale"
# The labels of a day that make a sum of events a lower bound.
TOO_LOW = frozenset({LEFT_OUT, UNKNOWN, PARTIAL, "incomplete"})
# The labels of a day whose number of people is too low, and of a day where it is too high.
PEOPLE_TOO_LOW, PEOPLE_TOO_HIGH = frozenset({"incomplete", "degraded"}), frozenset({"over-counted"})
# The labels that cast no doubt on a number: it is as it should be, or final.
SOUND = frozenset({"fresh", "purged"})
Key = tuple[str, str, str]  # App, event type, value of the dimension.


@dataclass(frozen=True, slots=True)
class Cell:
    """The events and the distinct people of one UTC day, app, event type and value."""

    day: date
    app: str
    event_type: str
    value: str
    events: int
    users: int


@dataclass(frozen=True, slots=True)
class Count:
    """A sum of events, and the labels that cast doubt on it, each with its number of days."""

    events: int
    doubts: Mapping[str, int]

    @property
    def is_lower_bound(self) -> bool:
        """True if there can be more events than were counted."""
        return bool(TOO_LOW & self.doubts.keys())

    @property
    def is_certain_zero(self) -> bool:
        """True if no event was counted, and there can be none.

        Events can have come to a stale day after its build. Yet `stale` makes no sum a lower bound:
        an erasure makes a day stale too, and then the sum can be too high.
        """
        return not self.events and not self.is_lower_bound and STALE not in self.doubts


@dataclass(frozen=True, slots=True)
class DayFigure:
    """One day. `people` and `events` are None if the day is unknown or left out."""

    day: date
    people: int | None
    events: int | None
    labels: Sequence[str]

    @property
    def is_whole(self) -> bool:
        """True if the day has a number and is over."""
        return self.people is not None and PARTIAL not in self.labels


@dataclass(frozen=True, slots=True)
class People:
    """Distinct people a day: the median and the most, over the `days` that are whole and shown."""

    median: float | None
    most: int | None
    days: int


def people_bounds(doubts: Collection[str]) -> tuple[str, str]:
    """Return the words before the median and the highest number of people, given their doubts.

    They are `at least`, `at most`, `about` or nothing. A day without a number can be above or below
    the median, but can only raise the highest number.
    """
    median = _bound(doubts, PEOPLE_TOO_LOW)
    return median, _bound(doubts, PEOPLE_TOO_LOW | TOO_LOW)


def _bound(doubts: Collection[str], too_low: frozenset[str]) -> str:
    if not doubts:
        return ""
    if too_low.issuperset(doubts):
        return "at least"
    return "at most" if PEOPLE_TOO_HIGH.issuperset(doubts) else "about"


class Split:
    """The cells of one rollup by day, with those that are left out, and the labels of each day.

    `labels` is by day and app. `hidden` holds day, app, event type and value.
    """

    def __init__(
        self,
        days: Sequence[date],
        cells: Iterable[Cell],
        hidden: Iterable[tuple[date, str, str, str]],
        labels: Mapping[tuple[date, str], Sequence[str]],
    ) -> None:
        self.days, self.labels = days, labels
        self._cells: dict[Key, dict[date, Cell]] = defaultdict(dict)
        self._hidden: dict[Key, set[date]] = defaultdict(set)
        for cell in cells:
            self._cells[cell.app, cell.event_type, cell.value][cell.day] = cell
        for day, *key in hidden:
            app, event_type, value = key
            self._hidden[app, event_type, value].add(day)

    @cached_property
    def _keys(self) -> Mapping[str, Sequence[Key]]:
        found: dict[str, list[Key]] = defaultdict(list)
        for key in dict.fromkeys([*self._cells, *self._hidden]):
            if key[1] != ALL_TYPES:
                found[key[0]].append(key)
        return found

    def apps(self) -> set[str]:
        """Return the apps that have an event in the window, shown or left out."""
        return set(self._keys)

    def values(self, app: str) -> list[str]:
        """Return the values that are shown, those with the most events first."""
        shown = {key[2] for key in self._keys.get(app, ()) if key in self._cells}
        counts = {value: self.count(app, value=value).events for value in shown}
        return sorted(shown, key=lambda value: (-counts[value], value))

    def event_types(self, app: str) -> list[str]:
        """Return the event types that are shown, those with the most events first."""
        shown = {key[1] for key in self._keys.get(app, ()) if key in self._cells}
        counts = {kind: self.count(app, event_type=kind).events for kind in shown}
        return sorted(shown, key=lambda kind: (-counts[kind], kind))

    def hides(self, app: str) -> bool:
        """True if a cell of the app is left out."""
        return any(key[0] == app and days for key, days in self._hidden.items())

    def count(self, app: str, *, event_type: str | None = None, value: str | None = None) -> Count:
        """Return the events of the shown cells: of all types and values, or of those given.

        The doubts of the count include the days on which a cell is left out.
        """
        keys = [
            key
            for key in self._keys.get(app, ())
            if event_type in (None, key[1]) and value in (None, key[2])
        ]
        events = sum(cell.events for key in keys for cell in self._cells.get(key, {}).values())
        hidden = {day for key in keys for day in self._hidden.get(key, ())}
        return Count(events, self._doubts(app, hidden))

    def _doubts(self, app: str, hidden: set[date]) -> dict[str, int]:
        doubts = Counter[str]()
        for day in self.days:
            doubts.update(set(self.labels[day, app]) - SOUND)
            doubts[LEFT_OUT] += day in hidden
        return {label: days for label, days in doubts.items() if days}

    def by_day(self, app: str, event_type: str = ALL_TYPES, value: str = "") -> list[DayFigure]:
        """Return each day of the window."""
        key = (app, event_type, value)
        return [self._day(key, day) for day in self.days]

    def _day(self, key: Key, day: date) -> DayFigure:
        labels = self.labels[day, key[0]]
        cell = self._cells.get(key, {}).get(day)
        if cell is not None:
            return DayFigure(day, cell.users, cell.events, labels)
        if UNKNOWN in labels:
            return DayFigure(day, None, None, labels)
        if day in self._hidden.get(key, ()):
            return DayFigure(day, None, None, [*labels, LEFT_OUT])
        return DayFigure(day, 0, 0, labels)

    def people(self, app: str, event_type: str = ALL_TYPES, value: str = "") -> People:
        """Return the people a day, over the days that are whole and shown."""
        counts = [
            figure.people
            for figure in self.by_day(app, event_type, value)
            if figure.is_whole and figure.people is not None
        ]
        if not counts:
            return People(None, None, 0)
        return People(median(counts), max(counts), len(counts))
