"""A patient analyst: asks all that `eventStats` answers below admin, and solves for hidden rows.

Worlds are small and made from a seed, since the analyst looks for small cells. The analyst knows
every possible value, whether each hidden row exists, which devices a system runs on, and that
browser, system, device and app split people as well as events.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from datetime import date
from itertools import combinations, product
from random import Random

from faults.suppression_solver import Cell, System
from faults.suppression_world import DEVICES_OF, Click, make_world, store
from signal_pipeline.api.graphql.context import RequestContext, Services
from signal_pipeline.api.graphql.stats import event_stats, parse_question
from signal_pipeline.api.graphql.types import (
    EventStats,
    EventStatsRow,
    StatsBy,
    StatsKey,
    StatsPeriod,
)
from signal_pipeline.api.identity.callers import ApiKey, Authenticated
from signal_pipeline.postgres.database import Database
from signal_pipeline.rollups.engine import Engine
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import Settings

FIVE = 5
KEYS = {
    "day": StatsKey.DAY,
    "app_name": StatsKey.APP,
    "event_type": StatsKey.EVENT_TYPE,
    "route": StatsKey.ROUTE,
    "device_type": StatsKey.DEVICE,
    "browser_family": StatsKey.BROWSER,
    "os_family": StatsKey.OS,
}
SPLITS = ("route", "device_type", "browser_family", "os_family")
FILTERED = ("app_name", "event_type", *SPLITS)
ROLLUPS = {
    StatsBy.APP: (),
    StatsBy.ROUTE: ("route",),
    StatsBy.DEVICE: ("device_type",),
    StatsBy.BROWSER: ("browser_family",),
    StatsBy.OS: ("os_family",),
}


Ask = Callable[..., EventStats]


@dataclass(slots=True)
class Recovered:
    """Hidden cells of one to four people, and how many the analyst recovered."""

    hidden: int = 0
    exactly: int = 0
    of_one_person: int = 0
    one_person_exactly: int = 0
    under_five: int = 0  # Not recovered exactly, but at most four events or people.
    questions: int = 0
    large: Counter[str] = field(default_factory=Counter)  # Rows of five people or more, by kind.
    large_hidden: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.hidden} hidden cells tried ({self.of_one_person} of one person), {self.exactly}"
            f" recovered exactly ({self.one_person_exactly} of one person), {self.under_five} more"
            f" narrowed to under five; {self.questions} questions; rows of five people or more left"
            " out too: "
            + ", ".join(
                f"{self.large_hidden[kind]} of {count} {kind}" for kind, count in self.large.items()
            )
        )

    def add(self, other: Recovered) -> None:
        """Add another world's figures."""
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))


def analyst(
    database: Database,
    models: Models,
    readers: ThreadPoolExecutor,
    *,
    is_admin: bool = False,
) -> Ask:
    """Return `eventStats` for a service, or for an admin; each call is one request."""
    caller = Authenticated("boss", frozenset({"admin"})) if is_admin else ApiKey("dashboard")
    services = Services(None, None, None, database, models, readers, None)  # type: ignore[arg-type] - not asked

    def ask(
        first: date,
        last: date,
        by: StatsBy | None = None,
        keys: Sequence[str] = (),
        period: StatsPeriod | None = None,
        where: Mapping[str, str] | None = None,
    ) -> EventStats:
        context = RequestContext(services, caller, None, None, None)
        question = parse_question(first, last, by, [KEYS[key] for key in keys], period, where or {})
        return asyncio.run(event_stats(context, question))

    return ask


def impossible_machines(dimensions: Mapping[str, Sequence[str]]) -> dict[Cell, int]:
    """Return zero for each system on a device that it does not run on."""
    return {
        frozenset({("os_family", system), ("device_type", device)}): 0
        for system, device in product(dimensions["os_family"], dimensions["device_type"])
        if device not in DEVICES_OF[system]
    }


class Analyst:
    """Asks everything, and remembers what was shown."""

    def __init__(self, clicks: Sequence[Click], ask: Ask, seed: int) -> None:
        self.clicks, self._ask, self._random = clicks, ask, Random(seed)
        self.days = sorted({click.day for click in clicks})
        self.dimensions = {name: sorted({click.value(name) for click in clicks}) for name in KEYS}
        self.figures = Recovered()
        self._events = System(self.dimensions)
        of_people = {
            name: values
            for name, values in self.dimensions.items()
            if name not in ("event_type", "route")
        }
        self._people = {
            context: System(of_people)
            for context in product(
                (None, *self.dimensions["event_type"]), (None, *self.dimensions["route"])
            )
        }

        for system in (self._events, *self._people.values()):
            system.sums |= impossible_machines(self.dimensions)

    def windows(self) -> Iterator[tuple[date, date]]:
        """Yield every window of the days."""
        yield from ((first, last) for first in self.days for last in self.days if first <= last)

    def ask_everything(self, filtered: int = 80, crossings: int = 60) -> None:
        """Ask for every set of keys and every rollup over every window.

        Then ask with some filters, and ask whether small cells exist.
        """
        for first, last in self.windows():
            whole = (first, last) == (self.days[0], self.days[-1])
            for keys in (
                keys for size in range(1, len(KEYS) + 1) for keys in combinations(KEYS, size)
            ):
                if whole or "day" not in keys:  # A row of one day is the same in a shorter window.
                    self._raw(first, last, keys, {})
            for (by, splits), kind in product(
                ROLLUPS.items(), (None, "(all)", self.dimensions["event_type"][0])
            ):
                for period in StatsPeriod if whole else (StatsPeriod.TOTAL,):
                    self._rollup(first, last, by, splits, period, kind)
        for _ in range(filtered):
            first, last = self._random.choice(list(self.windows()))
            names = self._random.sample(FILTERED, self._random.randint(1, 3))
            where = {name: self._random.choice(self.dimensions[name]) for name in names}
            keys = self._random.sample(list(KEYS), self._random.randint(1, 3))
            self._raw(first, last, keys, where)
        for name in SPLITS:
            for place in self._places((name,)):
                self._ask_what_exists(place)
        for place in self._random.sample(list(self._places(SPLITS)), crossings):
            self._ask_what_exists(place)

    def _places(self, splits: Sequence[str]) -> Iterator[dict[str, str]]:
        names = ("day", "app_name", "event_type", *splits)
        for values in product(*(self.dimensions[name] for name in names)):
            yield dict(zip(names, values, strict=True))

    def _ask_what_exists(self, place: Mapping[str, str]) -> None:
        """Ask whether a row that is not shown exists.

        With a filter on every value at once, `suppressedRows` shows it.
        """
        where = {name: value for name, value in place.items() if name != "day"}
        day = date.fromisoformat(place["day"])
        answer = self._raw(day, day, ["day"], where)
        if answer.suppressed_rows == 0 and not answer.rows:
            self._learn(where, day, day, 0, 0)
        elif answer.suppressed_rows and self._exists(frozenset(place.items())):
            self._events.known_to_exist.add(frozenset(place.items()))

    def _exists(self, cell: Cell) -> bool:
        """True if the row exists.

        A count of suppressed rows says nothing if the row does not exist. The analyst recognises
        that case by asking for a row that cannot exist.
        """
        return bool(self.rows_of(cell))

    def _raw(
        self, first: date, last: date, keys: Sequence[str], where: Mapping[str, str]
    ) -> EventStats:
        answer = self._ask(first, last, keys=keys, where=where)
        self._note(answer, first, last, keys, where)
        return answer

    def _rollup(
        self,
        first: date,
        last: date,
        by: StatsBy,
        splits: Sequence[str],
        period: StatsPeriod,
        kind: str | None,
    ) -> None:
        where = {"event_type": kind} if kind else {}
        answer = self._ask(first, last, by=by, period=period, where=where)
        keys = [*(["day"] if period == StatsPeriod.DAY else []), "app_name", "event_type", *splits]
        self._note(answer, first, last, keys, where)

    def _note(
        self,
        answer: EventStats,
        first: date,
        last: date,
        keys: Sequence[str],
        where: Mapping[str, str],
    ) -> None:
        self.figures.questions += 1
        for row in answer.rows:
            values = {**where, **{key: _value(row, key) for key in keys if key != "day"}}
            values = {
                name: value
                for name, value in values.items()
                if (name, value) != ("event_type", "(all)")
            }
            day = row.day if "day" in keys and row.day is not None else None
            users = row.users if row.users is not None else row.summed_daily_users
            self._learn(values, day or first, day or last, row.events, users)
        if answer.suppressed_rows == 0 and where.get("event_type") != "(all)":
            self._note_zeros(answer, first, last, keys, where)

    def _note_zeros(
        self,
        answer: EventStats,
        first: date,
        last: date,
        keys: Sequence[str],
        where: Mapping[str, str],
    ) -> None:
        """Note zeros: nothing was left out, so every row that is not shown is zero."""
        if len(keys) > 4:
            return  # These are sums of zeros that other questions ask for.
        names = [key for key in keys if key != "day"]
        shown = {
            (row.day if "day" in keys else None, *(_value(row, key) for key in names))
            for row in answer.rows
        }
        days = [day for day in self.days if first <= day <= last] if "day" in keys else [None]
        for day, *values in product(days, *(self.dimensions[name] for name in names)):
            if (day, *values) not in shown:
                pairs = dict(zip(names, values, strict=True))
                if all(where.get(name, value) == value for name, value in pairs.items()):
                    self._learn({**where, **pairs}, day or first, day or last, 0, 0)

    def _learn(
        self, values: Mapping[str, str], first: date, last: date, events: int, users: int
    ) -> None:
        cell = self._cell(values, first, last)
        self._events.sums[cell] = events
        people = {
            name: value for name, value in values.items() if name not in ("event_type", "route")
        }
        context = values.get("event_type"), values.get("route")
        if context in self._people:
            self._people[context].sums[self._cell(people, first, last)] = users

    def _cell(self, values: Mapping[str, str], first: date, last: date) -> Cell:
        days = " ".join(str(day) for day in self.days if first <= day <= last)
        return frozenset({**values, "day": days}.items())

    @property
    def sums(self) -> Mapping[Cell, int]:
        """The events of every cell that was shown, or is known to have none."""
        return self._events.sums

    def rows_of(self, cell: Cell) -> list[Click]:
        """Return the clicks of a cell, which the analyst does not know."""
        wanted = [(name, text.split(" ") if name == "day" else [text]) for name, text in cell]
        return [
            click
            for click in self.clicks
            if all(click.value(name) in texts for name, texts in wanted)
        ]

    def small_and_large(self) -> tuple[list[tuple[Cell, int]], list[Cell]]:
        """Return every cell with clicks that can be asked for, by day and over every window.

        The first list has the small cells with their people, the second the large cells.
        """
        people: dict[Cell, dict[str, set[tuple[str, int]]]] = {}
        for (first, last), size in product(self.windows(), range(len(KEYS))):
            for names in combinations([name for name in KEYS if name != "day"], size):
                for click in self.clicks:
                    if first <= click.day <= last:
                        cell = self._cell({name: click.value(name) for name in names}, first, last)
                        days = people.setdefault(cell, {})
                        days.setdefault(str(click.day), set()).add((click.app_name, click.person))
        peaks = {cell: max(map(len, days.values())) for cell, days in people.items()}
        small = [
            (cell, sum(map(len, people[cell].values())))
            for cell, peak in peaks.items()
            if peak < FIVE
        ]
        return small, [cell for cell, peak in peaks.items() if peak >= FIVE]

    def solve(self, most: int) -> Recovered:
        """Try at most `most` of the small cells."""
        small, large = self.small_and_large()
        self.figures.large = Counter(_kind(cell) for cell in large)
        self.figures.large_hidden = Counter(
            _kind(cell) for cell in large if cell not in self._events.sums
        )
        self._random.shuffle(small)
        # Cells of few dimensions come first: they have the most relations to what is shown.
        for cell, users in sorted(small, key=lambda each: len(each[0]))[:most]:
            self._try(cell, users)
        return self.figures

    def _try(self, cell: Cell, users: int) -> None:
        self.figures.hidden += 1
        self.figures.of_one_person += users == 1
        values = dict(cell)
        context = values.pop("event_type", None), values.pop("route", None)
        events = self._events.bounds(cell)
        people = self._people[context].bounds(frozenset(values.items()))
        if events[0] == events[1] or people[0] == people[1]:
            self.figures.exactly += 1
            self.figures.one_person_exactly += users == 1
            self.figures.examples.append(
                f"{sorted(cell)}: {events} events, {people} people, in truth {users} people"
            )
        elif any(most is not None and most < FIVE for _, most in (events, people)):
            self.figures.under_five += 1


def _value(row: EventStatsRow, key: str) -> str:
    return str(getattr(row, key))


def _kind(cell: Cell) -> str:
    values = dict(cell)
    splits = len(values.keys() & set(SPLITS))
    if splits > 1:
        return "by several of route, device, browser and system"
    if " " in values["day"] or not {"app_name", "event_type"} <= values.keys():
        return "over several days, apps or types"
    return "of one day, app and type" + (", by one more" if splits else "")


def attack(
    seed: int,
    days: Sequence[date],
    most: int,
    database: Database,
    settings: Settings,
    models: Models,
    engine: Engine,
    people: tuple[int, int] = (6, 40),
) -> Recovered:
    """Run one world from its first click to what the analyst recovered."""
    clicks = make_world(seed, days, people)
    store(clicks, database, settings, models, engine)
    with ThreadPoolExecutor(1) as readers:
        tries = Analyst(clicks, analyst(database, models, readers), seed)
        tries.ask_everything()
        return tries.solve(most)
