"""Builds of a day: its rollups computed from one snapshot and swapped in with one transaction.

Invariants 5 to 8 and 10. The caller decides which days to build; the engine decides how rows are
computed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from psycopg import sql
from psycopg.rows import class_row

from signal_pipeline.days.calendar import (
    day_lock,
    ensure_days,
    for_each_day,
    stored_start_date,
    today_utc,
    why_not_built,
)
from signal_pipeline.errors import SignalError
from signal_pipeline.postgres.database import Connection, Database, run_with_retries
from signal_pipeline.postgres.query import query
from signal_pipeline.rollups.engine import ComputedDay, DaySnapshot, Engine
from signal_pipeline.rollups.models import Model, Models


class BuildRefusedError(SignalError):
    """A build was refused because it would be wrong. It changed nothing; `reason` says why."""

    def __init__(self, day: date, reason: str) -> None:
        super().__init__(f"day {day}: {reason}")
        self.day = day
        self.reason = reason


class DayPurgedError(BuildRefusedError):
    """The day's raw events are gone, so its rollups stay as they are."""

    def __init__(self, day: date) -> None:
        super().__init__(day, "purged, unchanged")


@dataclass(frozen=True, slots=True)
class DayBuild:
    """What one build read and wrote.

    `rows` is by rollup; `seconds` covers reading, computing and writing. `state` is `open`, or
    `purged` if the raw events are gone and the build is final, or `incomplete` if they went before
    the day was proven complete.
    """

    day: date
    version: int
    raw_events: int
    first_event: datetime | None
    last_event: datetime | None
    rows: Mapping[str, int]
    seconds: float
    state: Literal["open", "purged", "incomplete"] = "open"


def build_day(database: Database, engine: Engine, models: Models, day: date) -> DayBuild:
    """Build the given rollups of one day.

    Raises DayPurgedError for a purged day. Raises BuildRefusedError if the day cannot hold events,
    if raw events are missing, if a rollup does not add up to them, or if another build was faster
    and read a newer version. Raises EngineError and DatabaseError. In all these cases the rollups
    stay as they are.
    """
    with database.connect() as connection:
        refuse_impossible_day(connection, day)
        ensure_days(connection, [day])
        with day_lock(connection, day):
            started = time.perf_counter()
            with engine.read(connection, day, models) as computed:
                refuse_missing_events(computed.snapshot)
                rows = run_with_retries(
                    lambda: _replace_rows(connection, engine.name, models, computed, started)
                )
            return DayBuild(
                day,
                computed.snapshot.version,
                computed.snapshot.raw_events,
                computed.snapshot.first_event,
                computed.snapshot.last_event,
                rows,
                time.perf_counter() - started,
            )


def recorded_builds(connection: Connection, models: Models, days: Sequence[date]) -> list[DayBuild]:
    """Return one build for each of the days, open or purged, from what is recorded of its rollups.

    An open day is returned if every rollup has a build of the day's present version. A purged day
    is returned with the rollups that were ever built. `seconds` is the time up to the last rollup.
    """
    if not days:
        return []
    spans = for_each_day(query(__package__, "span_of_day"), days)
    cursor = connection.cursor(row_factory=class_row(DayBuild))
    return cursor.execute(
        sql.SQL(query(__package__, "recorded_builds")).format(spans=spans),
        {"rollups": list(models)},
    ).fetchall()


def refuse_impossible_day(connection: Connection, day: date) -> None:
    """Raise BuildRefusedError for a day before the start date or after today."""
    reason = why_not_built(day, stored_start_date(connection), today_utc())
    if reason is not None:
        raise BuildRefusedError(day, reason)


def refuse_missing_events(snapshot: DaySnapshot) -> None:
    """Raise DayPurgedError or BuildRefusedError if raw events are missing from the snapshot."""
    if snapshot.state == "purged":
        raise DayPurgedError(snapshot.day)
    if snapshot.raw_events < snapshot.expected_events:
        raise BuildRefusedError(
            snapshot.day,
            f"raw events are missing: {snapshot.raw_events} of {snapshot.expected_events} are"
            " there; restore the others, or leave the rollups as they are",
        )


def _replace_rows(
    connection: Connection,
    engine: str,
    models: Models,
    computed: ComputedDay,
    started: float,
) -> dict[str, int]:
    rows: dict[str, int] = {}
    snapshot = computed.snapshot
    with connection.transaction():
        for name, model in models.items():
            connection.execute(
                sql.SQL("delete from signal.{} where activity_date = %s").format(
                    sql.Identifier(name)
                ),
                [snapshot.day],
            )
            rows[name] = computed.write(connection, model)
            _assert_complete(connection, model, snapshot)
            recorded = connection.execute(
                query(__package__, "record_build"),
                {
                    "day": snapshot.day,
                    "rollup": name,
                    "version": snapshot.version,
                    "model_checksum": model.checksum,
                    "engine": engine,
                    "rows": rows[name],
                    "raw_events": snapshot.raw_events,
                    "seconds": time.perf_counter() - started,
                },
            ).fetchone()
            if recorded is None:
                raise BuildRefusedError(snapshot.day, f"{name} holds a newer version already")
    return rows


def _assert_complete(connection: Connection, model: Model, snapshot: DaySnapshot) -> None:
    """Raise BuildRefusedError if a rollup of all events does not add up to the raw events.

    This is asserted before the commit, because a check afterwards could not roll anything back.
    """
    if not model.covers_all_events:
        return
    total = connection.execute(
        sql.SQL(
            "select coalesce(sum(events), 0)::bigint from signal.{} where activity_date = %s and"
            " event_type = '(all)'"
        ).format(sql.Identifier(model.name)),
        [snapshot.day],
    ).fetchone()
    if total != (snapshot.raw_events,):
        raise BuildRefusedError(
            snapshot.day, f"{model.name} does not add up to the day's {snapshot.raw_events} events"
        )
