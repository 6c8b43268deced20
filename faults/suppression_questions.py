"""A patient analyst, who asks all that `eventStats` answers to non-admins, and remembers it.

The analyst knows every possible value, whether each hidden row exists, which devices a system runs
on, and that browser, system, device and app split people as well as events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from itertools import combinations, product
from random import Random

from faults.suppression_solver import Cell, System
from faults.suppression_world import DEVICES_OF, Click
from signal_pipeline.api.graphql.context import RequestContext, Services
from signal_pipeline.api.graphql.stats import event_stats, parse_stats_question
from signal_pipeline.api.graphql.types import (
    EventStats,
    EventStatsRow,
    StatsBy,
    StatsKey,
    StatsPeriod,
)
from signal_pipeline.api.identity.callers import ApiKey, Authenticated
from signal_pipeline.catalogue.load import load_catalogue
from signal_pipeline.postgres.database import Database
from signal_pipeline.rollups.models import Models

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


def ask_as(
    database: Database,
    models: Models,
    readers: ThreadPoolExecutor,
    *,
    is_admin: bool = False,
) -> Ask:
    """Return `eventStats` for a service, or for an admin; each call is one request."""
    caller = Authenticated("boss", frozenset({"admin"})) if is_admin else ApiKey("dashboard")
    services = Services(None, None, None, database, models, load_catalogue(), readers, None)  # type: ignore[arg-type] - not asked

    def ask(
        first: date,
        last: date,
        by: StatsBy | None = None,
        keys: Sequence[str] = (),
        period: StatsPeriod | None = None,
        where: Mapping[str, str] | None = None,
    ) -> EventStats:
        context = RequestContext(services, caller, None, None, None)
        question = parse_stats_question(
            first, last, by, [KEYS[key] for key in keys], period, where or {}
        )
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
        self.clicks, self._ask, self.random = clicks, ask, Random(seed)
        self.days = sorted({click.day for click in clicks})
        self.dimensions = {name: sorted({click.value(name) for click in clicks}) for name in KEYS}
        self.questions = 0
        self.events = System(self.dimensions)
        of_people = {
            name: values
            for name, values in self.dimensions.items()
            if name not in ("event_type", "route")
        }
        self.people = {
            context: System(of_people)
            for context in product(
                (None, *self.dimensions["event_type"]), (None, *self.dimensions["route"])
            )
        }

        for system in (self.events, *self.people.values()):
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
            first, last = self.random.choice(list(self.windows()))
            names = self.random.sample(FILTERED, self.random.randint(1, 3))
            where = {name: self.random.choice(self.dimensions[name]) for name in names}
            keys = self.random.sample(list(KEYS), self.random.randint(1, 3))
            self._raw(first, last, keys, where)
        for name in SPLITS:
            for place in self._places((name,)):
                self._ask_what_exists(place)
        for place in self.random.sample(list(self._places(SPLITS)), crossings):
            self._ask_what_exists(place)

    def _places(self, splits: Sequence[str]) -> Iterator[dict[str, str]]:
        names = ("day", "app_name", "event_type", *splits)
        for values in product(*(self.dimensions[name] for name in names)):
            yield dict(zip(names, values, strict=True))

    def _ask_what_exists(self, place: Mapping[str, str]) -> None:
        """Ask whether a row that is not shown exists.

        With a filter on every value at once, `suppressedRows` shows that.
        """
        where = {name: value for name, value in place.items() if name != "day"}
        day = date.fromisoformat(place["day"])
        answer = self._raw(day, day, ["day"], where)
        if answer.suppressed_rows == 0 and not answer.rows:
            self._learn(where, day, day, 0, 0)
        elif answer.suppressed_rows and self._exists(frozenset(place.items())):
            self.events.known_to_exist.add(frozenset(place.items()))

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
        self.questions += 1
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
        cell = self.cell(values, first, last)
        self.events.sums[cell] = events
        people = {
            name: value for name, value in values.items() if name not in ("event_type", "route")
        }
        context = values.get("event_type"), values.get("route")
        if context in self.people:
            self.people[context].sums[self.cell(people, first, last)] = users

    def cell(self, values: Mapping[str, str], first: date, last: date) -> Cell:
        """Return the cell of these values over these days."""
        days = " ".join(str(day) for day in self.days if first <= day <= last)
        return frozenset({**values, "day": days}.items())

    def rows_of(self, cell: Cell) -> list[Click]:
        """Return the clicks of a cell. The analyst does not know them."""
        wanted = [(name, text.split(" ") if name == "day" else [text]) for name, text in cell]
        return [
            click
            for click in self.clicks
            if all(click.value(name) in texts for name, texts in wanted)
        ]


def _value(row: EventStatsRow, key: str) -> str:
    return str(getattr(row, key))
