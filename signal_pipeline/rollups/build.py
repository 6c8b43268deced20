"""Builds of a day: its rollups computed from one snapshot and swapped in with one transaction.

A rollup that fails keeps the rows of its earlier build, and holds up no other. Invariants 5 to 8
and 10. The caller decides which days to build; the engine decides how rows are computed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

import psycopg
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
from signal_pipeline.postgres.database import (
    Connection,
    Database,
    fault_of_statement,
    run_with_retries,
)
from signal_pipeline.postgres.query import query
from signal_pipeline.rollups.engine import ComputedDay, DaySnapshot, Engine, EngineError
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
    `purged` if the raw events are gone and the build is final, or `incomplete` if the raw events
    were deleted before the day was proven complete.
    """

    day: date
    version: int
    raw_events: int
    first_event: datetime | None
    last_event: datetime | None
    rows: Mapping[str, int]
    seconds: float
    state: Literal["open", "purged", "incomplete"] = "open"


class RollupsFailedError(SignalError):
    """Some rollups of a day failed, and keep what they had; the others were built.

    `failed` holds the reason for each rollup that failed. A reason names its rollup, and repeats no
    value of a row. `build` is the build of the others, or None if there are none.
    """

    def __init__(self, day: date, failed: Mapping[str, str], build: DayBuild | None) -> None:
        self.reason = "; ".join(failed.values())
        super().__init__(f"day {day}: {self.reason}")
        self.day = day
        self.failed = failed
        self.build = build


def build_day(database: Database, engine: Engine, models: Models, day: date) -> DayBuild:
    """Build the given rollups of one day.

    Raises DayPurgedError for a purged day. Raises BuildRefusedError if the day cannot hold events,
    or if raw events are missing. Raises EngineError and DatabaseError. In all these cases the
    rollups stay as they are.

    Raises RollupsFailedError for rollups that cannot be computed, that PostgreSQL refuses, that do
    not add up to the raw events, or that already hold a build of a newer version. Only these stay
    as they are: the others are committed first.
    """
    with database.connect() as connection:
        refuse_impossible_day(connection, day)
        ensure_days(connection, [day])
        with day_lock(connection, day):
            started = time.perf_counter()
            with engine.read(connection, day, models) as computed:
                refuse_missing_events(computed.snapshot)
                rows, failed = run_with_retries(
                    lambda: _replace_rows(connection, engine.name, models, computed, started)
                )
            build = DayBuild(
                day,
                computed.snapshot.version,
                computed.snapshot.raw_events,
                computed.snapshot.first_event,
                computed.snapshot.last_event,
                rows,
                time.perf_counter() - started,
            )
    if failed:
        raise RollupsFailedError(day, failed, build if rows else None)
    return build


def recorded_builds(connection: Connection, models: Models, days: Sequence[date]) -> list[DayBuild]:
    """Return the recorded builds of the days, open or purged: at most one for each day.

    An open day is returned if every rollup has a build of the day's present version. A purged day
    is returned with the rollups that were ever built. `seconds` is the time from the start of the
    build until its last rollup was written.
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
) -> tuple[dict[str, int], dict[str, str]]:
    """Replace the rows of each rollup; return how many each has now, or why it failed.

    Each rollup has a savepoint, so a rollup that fails keeps its rows. All the others are committed
    together.
    """
    rows: dict[str, int] = {}
    failed: dict[str, str] = {}
    with connection.transaction():
        for name, model in models.items():
            try:
                with connection.transaction():
                    rows[name] = _replace_rollup(connection, engine, model, computed, started)
            except psycopg.Error as error:
                failed[name] = f"{name}: {fault_of_statement(error)}"
            except BuildRefusedError as refusal:
                failed[name] = refusal.reason
            except EngineError as error:
                failed[name] = str(error)
    return rows, failed


def _replace_rollup(
    connection: Connection, engine: str, model: Model, computed: ComputedDay, started: float
) -> int:
    snapshot = computed.snapshot
    connection.execute(
        sql.SQL("delete from signal.{} where activity_date = %s").format(
            sql.Identifier(model.name)
        ),
        [snapshot.day],
    )
    rows = computed.write(connection, model)
    assert_complete(connection, model, snapshot, sql.Identifier("signal", model.name))
    recorded = connection.execute(
        query(__package__, "record_build"),
        {
            "day": snapshot.day,
            "rollup": model.name,
            "version": snapshot.version,
            "model_checksum": model.checksum,
            "engine": engine,
            "rows": rows,
            "raw_events": snapshot.raw_events,
            "seconds": time.perf_counter() - started,
        },
    ).fetchone()
    if recorded is None:
        raise BuildRefusedError(snapshot.day, f"{model.name} holds a newer version already")
    return rows


def assert_complete(
    connection: Connection, model: Model, snapshot: DaySnapshot, table: sql.Identifier
) -> None:
    """Raise BuildRefusedError if a rollup of all events does not add up to the raw events.

    This is asserted before the commit, because a check afterwards could not roll anything back.
    """
    if not model.covers_all_events:
        return
    total = connection.execute(
        sql.SQL(
            "select coalesce(sum(events), 0)::bigint from {} where activity_date = %s and"
            " event_type = '(all)'"
        ).format(table),
        [snapshot.day],
    ).fetchone()
    if total != (snapshot.raw_events,):
        raise BuildRefusedError(
            snapshot.day, f"{model.name} does not add up to the day's {snapshot.raw_events} events"
        )
