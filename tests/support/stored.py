"""The content of a database, in the shape in which the oracle states it."""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

from psycopg import sql
from support.oracle import DIMENSIONS, Bot, Entry, Oracle, Receipt, Row

from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.identifiers import identifiers
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.duckdb_engine import DuckdbEngine
from signal_pipeline.rollups.models import Models
from signal_pipeline.rollups.postgres_engine import PostgresEngine

COLUMNS = (
    "created_at",
    "app_name",
    "event_type",
    "route",
    "entity_type",
    "entity_id",
    "user_hash",
    "session_id",
    "device_type",
    "browser_family",
    "os_family",
    "client_event_id",
    "description",
)


def stored_events(connection: Connection) -> list[dict[str, Any]]:
    """Every stored event without its random id, in the order of its own time and key."""
    query = sql.SQL("select {} from signal.events order by created_at, client_event_id").format(
        identifiers(COLUMNS)
    )
    return [dict(zip(COLUMNS, row, strict=True)) for row in connection.execute(query).fetchall()]


def in_order(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Events in the order of `stored_events`."""
    return sorted(events, key=lambda event: (event["created_at"], event["client_event_id"]))


def stored_books(connection: Connection) -> Counter[Entry]:
    """The books, entry by entry."""
    rows = connection.execute(
        "select day, app_name, event_type, outcome, reason, events from signal.books"
    ).fetchall()
    return Counter({row[:5]: row[5] for row in rows})  # type: ignore[misc]


def stored_intake(connection: Connection) -> Counter[Receipt]:
    """The counts of events received together, entry by entry."""
    rows = connection.execute(
        "select received_on, app_name, outcome, reason, events from signal.intake"
    ).fetchall()
    return Counter({row[:4]: row[4] for row in rows})  # type: ignore[misc]


def stored_bots(connection: Connection) -> Counter[Bot]:
    """The bots by their buckets, entry by entry."""
    query = "select day, app_name, browser_family, os_family, device_type, events from signal.bots"
    return Counter({row[:5]: row[5] for row in connection.execute(query).fetchall()})  # type: ignore[misc]


def count(connection: Connection, query: str, *values: object) -> int:
    """The one number that a query returns."""
    row = connection.execute(query, values).fetchone()  # type: ignore[arg-type]
    assert row is not None
    assert isinstance(row[0], int)
    return row[0]


def rollup_table(connection: Connection, rollup: str, day: date) -> list[Row]:
    """All rows of a rollup's day, columns in the order of the oracle's."""
    names = [
        "activity_date",
        "app_name",
        "event_type",
        *DIMENSIONS[rollup],
        "events",
        "users",
        "sessions",
    ]
    query = sql.SQL("select {} from signal.{} where activity_date = %s").format(
        identifiers(names), sql.Identifier(rollup)
    )
    return connection.execute(query, [day]).fetchall()


def assert_rollups_agree(
    database: Database,
    connection: Connection,
    models: Models,
    tmp: Path,
    oracle: Oracle,
    day: date,
) -> None:
    """Build a day on both engines.

    Every row of every rollup must be what the oracle says.
    """
    for engine in (DuckdbEngine(database.url, tmp), PostgresEngine()):
        build_day(database, engine, models, day)
        for rollup in models:
            rows = rollup_table(connection, rollup, day)
            assert len(rows) == len(set(rows))
            assert set(rows) == oracle.rows(rollup, day), (engine.name, rollup)


def install_on(connection: Connection, day: date) -> None:
    """Let the database have been migrated first on this day."""
    connection.execute(
        "update signal.instance set created_at = %s::date::timestamp at time zone 'UTC'", [day]
    )


def received(connection: Connection) -> int:
    return stored_books(connection).total()
