"""The engine that lets PostgreSQL compute: for a cluster, and to check the other engine.

It runs the models' SQL inside the database, into temporary tables of the caller's connection. On
a cluster, the SQL first gets a form that the workers can compute (`per_user.py`), with equal
results.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from functools import partial

import numpy as np
import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus
from psycopg.rows import kwargs_row, scalar_row

from signal_pipeline.days.calendar import window
from signal_pipeline.days.placement import distributed_tables
from signal_pipeline.postgres.database import Connection, fault_of_statement, safe_errors
from signal_pipeline.postgres.identifiers import identifiers
from signal_pipeline.postgres.query import query
from signal_pipeline.rollups.engine import (
    DaySnapshot,
    EngineError,
    foreign_rows,
    read_recorded_day,
)
from signal_pipeline.rollups.models import Model, Models
from signal_pipeline.rollups.per_user import PerUserQuery, count_per_user, over_table

# The table of events whose session has several users, and the columns that it always has.
_SHARED = ("pg_temp", "signal_shared_events")
_ALWAYS_READ = {"created_at", "user_hash", "session_id"}


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
                on_workers = "events" in distributed_tables(connection)
                if on_workers:
                    _fill_shared_events(connection, day, models)
                failed = {
                    name: error
                    for name, model in models.items()
                    if (error := _try_model(connection, day, model, on_workers=on_workers))
                }
            yield PostgresDay(snapshot, failed)
        finally:
            # If the connection is lost, its temporary tables are gone too.
            with suppress(psycopg.Error), connection.transaction():
                for model in models.values():
                    connection.execute(sql.SQL("drop table if exists {}").format(_temporary(model)))


@dataclass(frozen=True, slots=True)
class PostgresDay:
    """The results of a day in temporary tables; see `rollups.engine.ComputedDay`."""

    snapshot: DaySnapshot
    _failed: Mapping[str, EngineError]

    def write(
        self, connection: Connection, model: Model, table: sql.Identifier | None = None
    ) -> int:
        """Write the rows; see `ComputedDay.write`."""
        if error := self._failed.get(model.name):
            raise error from None
        # If rows come in the order of the primary key, its index grows at one end: half the cost.
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


def _try_model(
    connection: Connection, day: date, model: Model, *, on_workers: bool
) -> EngineError | None:
    """Compute a model inside a savepoint; return the error if the model itself is at fault."""
    try:
        with connection.transaction():
            _compute(connection, day, model, on_workers=on_workers)
    except psycopg.Error as error:
        fault = fault_of_statement(error)
        return EngineError(f"{model.name}: {fault}", fault.sqlstate)
    except EngineError as error:
        return error
    return None


def _compute(connection: Connection, day: date, model: Model, *, on_workers: bool) -> None:
    temporary = _temporary(model)
    connection.execute(
        sql.SQL("create temporary table {} (like {})").format(
            temporary, sql.Identifier("signal", model.name)
        )
    )
    per_user = count_per_user(model.select) if on_workers else None
    insert = sql.SQL("insert into {} ({})\n{}").format(
        temporary,
        identifiers(model.columns),
        _text(per_user.select if per_user else model.select),
    )
    # The binds are $1 and $2 as written; a plain cursor would take a % in a model for a bind.
    scalar = psycopg.RawCursor(connection, row_factory=scalar_row)
    scalar.execute(insert, window(day))
    if per_user:
        _count_shared_sessions_once(connection, day, model, per_user)
    rows: int | None = scalar.execute(
        sql.SQL(query(__package__, "foreign_rows")).format(temporary), [day]
    ).fetchone()
    if rows:
        raise foreign_rows(day, model, rows)


def _fill_shared_events(connection: Connection, day: date, models: Models) -> None:
    """Copy the events of sessions with several users, which are few, into a temporary table.

    The workers send each user's sessions as hashes of 4 bytes each. If two sessions have the same
    hash, their events are copied too, even if each has only one user. This changes no result.
    """
    scalar = psycopg.RawCursor(connection, row_factory=scalar_row)
    packed: bytes | None = scalar.execute(
        query(__package__, "packed_sessions"),
        window(day),
        binary=True,  # Text has twice the bytes, and no message can have more than 1 GB.
    ).fetchone()
    assert packed is not None  # An aggregate has a row.
    # PostgreSQL sends numbers with the highest byte first.
    of_users = np.frombuffer(packed, ">i4")
    hashes, users = np.unique(of_users, return_counts=True)
    names = {column.name for model in models.values() for column in model.reads}
    statement = sql.SQL(query(__package__, "shared_events")).format(
        table=sql.Identifier(*_SHARED),
        columns=sql.SQL(", ").join(map(sql.Identifier, sorted(names | _ALWAYS_READ))),
    )
    scalar.execute(statement, [*window(day), hashes[users > 1].tolist()])
    connection.execute(sql.SQL("analyze {}").format(sql.Identifier(*_SHARED)))


def _count_shared_sessions_once(
    connection: Connection, day: date, model: Model, per_user: PerUserQuery
) -> None:
    """Correct the temporary rows, which count a session once for each of its users."""
    connection.execute(sql.SQL("analyze {}").format(_temporary(model)))
    for name in per_user.session_counts:
        statement = sql.SQL(query(__package__, "count_shared_once")).format(
            temporary=_temporary(model),
            sessions=sql.Identifier(name),
            grain=identifiers(model.grain),
            per_user=_text(over_table(per_user.select, *_SHARED)),
            once=_text(over_table(model.select, *_SHARED)),
            matches=sql.SQL(" and ").join(
                sql.SQL("t.{0} = o.{0}").format(sql.Identifier(key)) for key in model.grain
            ),
        )
        psycopg.RawCursor(connection).execute(statement, window(day))


def _text(select: str) -> sql.SQL:
    return sql.SQL(select)


def _temporary(model: Model) -> sql.Identifier:
    return sql.Identifier("pg_temp", model.name)
