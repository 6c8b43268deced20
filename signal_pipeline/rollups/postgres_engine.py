"""The engine that lets PostgreSQL compute: for a cluster, and to check the other engine.

It runs the models' SQL inside the database, into temporary tables of the caller's connection.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import LiteralString, cast

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from signal_pipeline.days.calendar import window
from signal_pipeline.postgres.database import Connection, safe_errors
from signal_pipeline.postgres.identifiers import identifiers
from signal_pipeline.postgres.query import query
from signal_pipeline.rollups.engine import DaySnapshot, EngineError, foreign_rows, missing_day
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
    facts = _execute(connection, query(__package__, "read_day"), [day]).fetchone()
    if facts is None:
        raise missing_day(day)
    version, state, expected_events = cast("tuple[int, str, int]", facts)
    span = _execute(connection, query(__package__, "raw_span"), window(day)).fetchone()
    raw_events, first, last = cast("tuple[int, datetime | None, datetime | None]", span)
    return DaySnapshot(day, version, state, expected_events, raw_events, first, last)


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
    _execute(connection, insert, window(day))
    foreign = _execute(
        connection, sql.SQL(query(__package__, "foreign_rows")).format(temporary), [day]
    )
    (rows,) = cast("tuple[int]", foreign.fetchone())
    if rows:
        raise foreign_rows(day, model, rows)


def _execute(
    connection: Connection, statement: LiteralString | sql.Composed, binds: Sequence[object]
) -> psycopg.Cursor[tuple[object, ...]]:
    """Run SQL with the binds $1 and $2 as written; a plain cursor would take a % for a bind."""
    cursor = psycopg.RawCursor(connection)
    cursor.execute(statement, binds)
    return cursor


def _temporary(model: Model) -> sql.Identifier:
    return sql.Identifier("pg_temp", model.name)
