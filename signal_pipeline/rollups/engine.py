"""The protocol of an engine, what both engines share, and the choice of one.

An engine reads one day from one snapshot, computes its rollups, and writes them where it is told
to. Reading and writing are separate, because the caller checks the snapshot first, and swaps all
rollups of the day in one short transaction of its own (invariants 5 and 6).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from signal_pipeline.errors import SignalError
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.query import query
from signal_pipeline.rollups.models import Model, Models
from signal_pipeline.settings import Settings


class EngineError(SignalError):
    """An engine failed. Holds the class of the error or its SQLSTATE, never the text of a row."""

    def __init__(self, message: str, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


@dataclass(frozen=True, slots=True)
class DaySnapshot:
    """A day as one snapshot of the database showed it.

    `expected_events` is accepted minus erased events by the books, or 0 if the day is purged;
    `raw_events` counts the events that are there. `first_event` and `last_event` are UTC instants,
    None on a day without events.
    """

    day: date
    version: int
    state: str
    expected_events: int
    raw_events: int
    first_event: datetime | None
    last_event: datetime | None


@dataclass(frozen=True, slots=True)
class RecordedDay:
    """What is recorded of a day beside its raw events; see `DaySnapshot`."""

    version: int
    state: str
    expected_events: int


class ComputedDay(Protocol):
    """The computed rollups of one day, until the context of `Engine.read` ends."""

    @property
    def snapshot(self) -> DaySnapshot:
        """The snapshot that the rollups were computed from."""
        ...

    def write(
        self, connection: Connection, model: Model, table: sql.Identifier | None = None
    ) -> int:
        """Insert the model's rows into its table, or another of the same shape; return how many.

        It writes in the caller's transaction; the caller deletes rows of an earlier build. It can
        be called again after a rollback. Raises EngineError for a model that could not be computed;
        the others can still be written. Errors of the connection pass unchanged, so that the caller
        can retry or word them.
        """
        ...


class Engine(Protocol):
    """Computes rollups. A build records `name`, which is also a value of `SIGNAL_ROLLUP_ENGINE`."""

    @property
    def name(self) -> str:
        """The name of the engine."""
        ...

    def read(
        self, connection: Connection, day: date, models: Models
    ) -> AbstractContextManager[ComputedDay]:
        """Read the day from one snapshot, taken once this call has begun; compute the models.

        `connection` must not be in a transaction, and the caller holds the lock of the day. A
        purged day reads as empty. Raises DatabaseError. Raises EngineError, also for a day without
        a row in `signal.days`. A model that cannot be computed, or that gives rows of another day,
        holds up no other: `ComputedDay.write` raises its error.
        """
        ...


def read_recorded_day(connection: Connection, day: date) -> RecordedDay:
    """Return what the caller's snapshot records of a day.

    Raises EngineError for a day that has no row in `signal.days`.
    """
    cursor = psycopg.RawCursor(connection, row_factory=class_row(RecordedDay))
    recorded = cursor.execute(query(__package__, "read_day"), [day]).fetchone()
    if recorded is None:
        raise EngineError(f"day {day} is unknown: no event was ever accepted for it")
    return recorded


def foreign_rows(day: date, model: Model, rows: int) -> EngineError:
    """Return the error for a model that gave rows of other days."""
    return EngineError(
        f"{model.name} gave {rows} rows of other days than {day}: correct its activity_date"
    )


def open_engine(settings: Settings, database: Database, *, many_days: bool = False) -> Engine:
    """Return the engine of `SIGNAL_ROLLUP_ENGINE` for this database.

    With `many_days`, the caller builds several days at once, so each build uses one thread.
    """
    # Import an engine only when a day is to be built: DuckDB and Arrow would make up a quarter of
    # the time to load the definitions.
    if settings.rollup_engine == "postgres":
        from signal_pipeline.rollups.postgres_engine import PostgresEngine

        return PostgresEngine()
    from signal_pipeline.rollups.duckdb_engine import DuckdbEngine

    return DuckdbEngine(database.url, settings.tmp_path, threads=1 if many_days else 2)
