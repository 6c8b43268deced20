"""Which event types of the catalogue are used, according to the rollups.

The rollups have the numbers of every day, purged days included. Printing the catalogue must not
make a database, so if there is none yet, the result says so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal

from signal_pipeline.catalogue.load import EventType
from signal_pipeline.days.calendar import today_utc
from signal_pipeline.days.coverage import days_note, read_coverage
from signal_pipeline.days.freshness import day_statuses
from signal_pipeline.errors import SignalError
from signal_pipeline.postgres.database import Connection, DatabaseError, open_database
from signal_pipeline.postgres.embedded_folders import data_folder
from signal_pipeline.postgres.query import query
from signal_pipeline.rollups.models import Models, load_models
from signal_pipeline.settings import Settings

# A quarter of a year: longer than a holiday or a slow month, shorter than the default retention, so
# that raw events of the last use are still there to look at.
LONG_DEAD_DAYS = 90
ROLLUP = "daily_app_activity"
_NOT_MIGRATED = ("42P01", "3F000")  # PostgreSQL's codes for a missing table and a missing schema.

State = Literal["in use", "long dead", "never seen", "dropped", "retired", "not known"]


@dataclass(frozen=True, slots=True)
class TypeUse:
    """The events of one type on all days together, and the last UTC day that has one."""

    events: int
    last_day: date


@dataclass(frozen=True, slots=True)
class Usage:
    """What the rollups know, by event type.

    `seen` is None without rollups. The notes say what the numbers leave out. If `has_gaps` is true,
    some of the last LONG_DEAD_DAYS days are unknown, so no type can be called dead. `waiting` is
    about the days whose rollup is not fresh: for each type with events on such days, it holds the
    last of these days. `dropped` has the types of which events were dropped in the last
    LONG_DEAD_DAYS days; events of bots do not count.
    """

    seen: Mapping[str, TypeUse] | None
    notes: list[str] = field(default_factory=list)
    has_gaps: bool = False
    waiting: Mapping[str, date] = field(default_factory=dict)
    dropped: Collection[str] = ()

    def state(self, kind: EventType, today: date) -> State:
        """Return how a type is used.

        A type is long dead if it was last seen more than LONG_DEAD_DAYS days before `today`, and
        none of the last LONG_DEAD_DAYS days is unknown. A type in `dropped` is neither long dead
        nor never seen.
        """
        if kind.retired:
            return "retired"
        if self.seen is None:
            return "not known"
        last_days = [use.last_day for use in [self.seen.get(kind.name)] if use]
        last_days += [day for day in [self.waiting.get(kind.name)] if day]
        if last_days and today - max(last_days) <= timedelta(days=LONG_DEAD_DAYS):
            return "in use"
        if kind.name in self.dropped:
            return "dropped"
        if not last_days:
            return "never seen"
        return "not known" if self.has_gaps else "long dead"


def read_usage(settings: Settings) -> Usage:
    """Return the use of every event type.

    Without a database, or if it cannot answer, the result has a note that says why.
    """
    if (
        settings.database_url is None
        and not (data_folder(settings.home_path) / "PG_VERSION").exists()
    ):
        return Usage(
            None, ["there is no database yet, so it is not known which event types are used"]
        )
    models = load_models()
    if ROLLUP not in models:
        return Usage(
            None, [f"there is no model of {ROLLUP}, so it is not known which event types are used"]
        )
    try:
        with open_database(settings).connect() as connection:
            return _usage(connection, models)
    except SignalError as error:
        not_migrated = isinstance(error, DatabaseError) and error.sqlstate in _NOT_MIGRATED
        reason = (
            "the database has no rollups yet: run `signal-pipeline migrate`"
            if not_migrated
            else str(error)
        )
        return Usage(None, [f"it is not known which event types are used: {reason}"])


def _usage(connection: Connection, models: Models) -> Usage:
    seen = {
        name: TypeUse(events, last_day)
        for name, events, last_day in connection.execute(
            query(__package__, "event_types_seen")
        ).fetchall()
    }
    statuses = day_statuses(connection, models.only([ROLLUP]).checksums)
    behind = [status.day for status in statuses if status.rollups[ROLLUP] != "fresh"]
    unknown = _unknown_days(connection, statuses[0].day) if statuses else []
    notes = days_note(
        unknown, "were never built, so it is not known which event types are long dead"
    )
    if behind:
        days = f"{len(behind)} day(s), the last {behind[-1]}"
        notes.append(f"{ROLLUP} is not fresh on {days}: some of their events can be missing here")
    waiting = connection.execute(query(__package__, "event_types_accepted"), {"days": behind})
    since = {"first": today_utc() - timedelta(days=LONG_DEAD_DAYS)}
    dropped = connection.execute(query(__package__, "event_types_dropped"), since)
    return Usage(
        seen,
        notes,
        bool(unknown),
        dict(waiting.fetchall()),
        {event_type for (event_type,) in dropped.fetchall()},
    )


def _unknown_days(connection: Connection, oldest: date) -> list[date]:
    """Return which of the last LONG_DEAD_DAYS days have no row in `signal.days`, from `oldest` on.

    Signal stored no event of them, but it may have been off.
    """
    today = today_utc()
    first = min(today, max(oldest, today - timedelta(days=LONG_DEAD_DAYS)))
    return read_coverage(connection, first, today).untouched
