"""The engine that lets PostgreSQL compute: for a cluster, and to check the other engine.

It runs the models' SQL inside the database, into temporary tables of the caller's connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from functools import partial

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus
from psycopg.rows import kwargs_row, scalar_row

from signal_pipeline.days.calendar import window
from signal_pipeline.postgres.database import Connection, safe_errors
from signal_pipeline.postgres.identifiers import identifiers
from signal_pipeline.postgres.query import query
from signal_pipeline.rollups.engine import (
    DaySnapshot,
    EngineError,
    foreign_rows,
    read_recorded_day,
)
from signal_pipeline.rollups.models import Model, Models


class PostgresEngine:
    """Runs each model as `INSERT … SELECT` inside PostgreSQL; see `rollups.engine.Engine`."""

    name = "postgres"

    @contextmanager
    def read(self, connection: Connection, day: date, models: Models) -> Iterator[PostgresDay]:
        """Read a day; see `Engine.read`.

        The results wait in temporary tables, which are dropped at the end.
        """
        if connection.info.transaction_status != TransactionStatus.IDLE:
            raise EngineError(
                "the connection is already in a transaction: its snapshot would be too old"
            )
        try:
            with safe_errors(), connection.transaction():
                connection.execute("set transaction isolation level repeatable read")
                connection.execute("set local time zone 'UTC'")
                snapshot = _read_snapshot(connection, day)
                for model in models.values():
                    _compute(connection, day, model)
            yield PostgresDay(snapshot)
        finally:
            # If the connection is lost, its temporary tables are gone too.
            with suppress(psycopg.Error), connection.transaction():
                for model in models.values():
                    connection.execute(sql.SQL("drop table if exists {}").format(_temporary(model)))


@dataclass(frozen=True, slots=True)
class PostgresDay:
    """The results of a day in temporary tables; see `rollups.engine.ComputedDay`."""

    snapshot: DaySnapshot

    def write(
        self, connection: Connection, model: Model, table: sql.Identifier | None = None
    ) -> int:
        """Write the rows; see `ComputedDay.write`."""
        # In the order of the primary key, its index grows at one end, which halves the cost.
        statement = sql.SQL("insert into {} ({}) select {} from {} order by {}").format(
            table or sql.Identifier("signal", model.name),
            identifiers(model.columns),
            identifiers(model.columns),
            _temporary(model),
            identifiers(model.grain),
        )
        return connection.execute(statement).rowcount


def _read_snapshot(connection: Connection, day: date) -> DaySnapshot:
    recorded = read_recorded_day(connection, day)
    snapshot = partial(DaySnapshot, day, recorded.version, recorded.state, recorded.expected_events)
    cursor = psycopg.RawCursor(connection, row_factory=kwargs_row(snapshot))
    with_span = cursor.execute(query(__package__, "raw_span"), window(day)).fetchone()
    assert with_span is not None
    return with_span


def _compute(connection: Connection, day: date, model: Model) -> None:
    temporary = _temporary(model)
    connection.execute(
        sql.SQL("create temporary table {} (like {})").format(
            temporary, sql.Identifier("signal", model.name)
        )
    )
    select = sql.SQL(model.select)
    insert = sql.SQL("insert into {} ({})\n{}").format(
        temporary, identifiers(model.columns), select
    )
    # The binds are $1 and $2 as written; a plain cursor would take a % in a model for a bind.
    scalar = psycopg.RawCursor(connection, row_factory=scalar_row)
    scalar.execute(insert, window(day))
    rows: int | None = scalar.execute(
        sql.SQL(query(__package__, "foreign_rows")).format(temporary), [day]
    ).fetchone()
    if rows:
        raise foreign_rows(day, model, rows)


def _temporary(model: Model) -> sql.Identifier:
    return sql.Identifier("pg_temp", model.name)
