"""What an engine is: it reads one day from one snapshot, computes rollups of it, and writes them
where it is told to.

Here: the protocol and what both engines share. Reading and writing are apart, because the caller
checks the snapshot first, and swaps all rollups of the day in one short transaction of its own
(invariants 5 and 6).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from psycopg import sql

from signal_pipeline.errors import SignalError
from signal_pipeline.postgres.database import Connection
from signal_pipeline.rollups.models import Model


class EngineError(SignalError):
    """An engine failed. Holds the class of the error, or its SQLSTATE, and never text of a row."""

    def __init__(self, message: str, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


@dataclass(frozen=True, slots=True)
class DaySnapshot:
    """A day as one snapshot of the database showed it.

    `expected_events` is accepted minus erased events by the books; `raw_events` are those that are
    there. `first_event` and `last_event` are UTC instants, None on a day without events.
    """

    day: date
    version: int
    state: str
    expected_events: int
    raw_events: int
    first_event: datetime | None
    last_event: datetime | None


class Built(Protocol):
    """The computed rollups of one day, until the context of `Engine.read` ends."""

    @property
    def snapshot(self) -> DaySnapshot:
        """The day that the rollups were computed from."""
        ...

    def write(
        self, connection: Connection, model: Model, table: sql.Identifier | None = None
    ) -> int:
        """Insert the model's rows into its table, or into one of the same shape; returns how many.

        In the caller's transaction; rows of an earlier build are the caller's to delete. May be
        called again after a rollback. Errors of the connection pass unchanged, for the caller to
        retry or to word.
        """
        ...


class Engine(Protocol):
    """Computes rollups. `name` is what a build records, and a value of `SIGNAL_ROLLUP_ENGINE`."""

    @property
    def name(self) -> str:
        """Which engine this is."""
        ...

    def read(
        self, connection: Connection, day: date, models: Mapping[str, Model]
    ) -> AbstractContextManager[Built]:
        """Read the day from one snapshot, taken after this call, and compute the models.

        `connection` must not be in a transaction; the lock of the day is the caller's to hold. A
        purged day reads as empty. Raises EngineError, also for a day without a row in `signal.days`
        and for a model that gives rows of another day; and DatabaseError.
        """
        ...


def missing_day(day: date) -> EngineError:
    """The error for a day that has no row in `signal.days`."""
    return EngineError(f"day {day} is unknown: no event was ever accepted for it")


def foreign_rows(day: date, model: Model, rows: int) -> EngineError:
    """The error for a model whose rows are not all of the day that was asked for."""
    return EngineError(
        f"{model.name} gave {rows} rows of other days than {day}: correct its activity_date"
    )
