"""A profile of a day's raw events: counts and two times, never a row, a hash or a session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial

from psycopg.rows import kwargs_row

from signal_pipeline.days.calendar import window
from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.query import query


@dataclass(frozen=True, slots=True)
class DayProfile:
    """One day: the count of its stored raw events, the first and the last, and its outcomes.

    `state` is `open`, `purged`, or `incomplete` if the raw events were purged without the proof
    that the day is complete. `outcomes` come from the books, with the key `dropped: reason` for
    drops. Times are in UTC.
    """

    day: date
    version: int
    state: str
    events: int
    first_event: datetime | None
    last_event: datetime | None
    outcomes: Mapping[str, int]


def day_profile(connection: Connection, day: date) -> DayProfile:
    """Return the profile of one day; a day without a row has version 0 and no events."""
    start, end = window(day)
    outcomes = day_outcomes(connection, day)
    cursor = connection.cursor(
        row_factory=kwargs_row(partial(DayProfile, day=day, outcomes=outcomes))
    )
    profile = cursor.execute(
        query(__package__, "day_profile"), {"day": day, "start": start, "end": end}
    ).fetchone()
    assert profile is not None
    return profile


def day_outcomes(connection: Connection, day: date) -> Mapping[str, int]:
    """Return what the books say about one day.

    The values are events by `accepted`, `duplicate`, `erased` and `dropped: reason`.
    """
    return dict(connection.execute(query(__package__, "day_outcomes"), [day]).fetchall())


def outcomes_by_day(connection: Connection, first: date, last: date) -> dict[date, dict[str, int]]:
    """Return received events by outcome, per day from `first` to `last`, inclusive."""
    days: dict[date, dict[str, int]] = {}
    for day, outcome, events in connection.execute(
        query(__package__, "books_by_day"), {"first": first, "last": last}
    ):
        days.setdefault(day, {})[outcome] = events
    return days


def dropped_since(connection: Connection, at: datetime) -> bool:
    """True if any event was dropped after an aware time.

    Drops raise no version, so the days do not show it.
    """
    statement = (
        "select exists (select from signal.intake where outcome = 'dropped' and changed_at > %s)"
    )
    return connection.execute(statement, [at]).fetchone() == (True,)
