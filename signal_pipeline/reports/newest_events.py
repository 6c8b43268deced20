"""Reading raw events, newest first. The caller decides who is allowed to read them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import LiteralString, NamedTuple
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row, scalar_row

from signal_pipeline.days.calendar import window
from signal_pipeline.days.placement import distributed_tables
from signal_pipeline.events.ids import NO_VALUE
from signal_pipeline.postgres.database import Connection, Database, DatabaseError
from signal_pipeline.postgres.query import query

FILTERS: tuple[LiteralString, ...] = (
    "app_name",
    "event_type",
    "entity_type",
    "entity_id",
    "route",
    "device_type",
    "session_id",
)


class RawEvent(NamedTuple):
    """A row of `signal.events`; `description` is JSON text."""

    id: UUID
    created_at: datetime
    app_name: str
    event_type: str
    route: str | None
    entity_type: str | None
    entity_id: str | None
    user_hash: bytes
    session_id: UUID | None
    device_type: str
    browser_family: str
    os_family: str
    client_event_id: UUID
    description: str | None


def newest_events(
    database: Database,
    filters: Mapping[str, str],
    earliest: datetime | None,
    latest: datetime | None,
    limit: int,
    seconds: float,
) -> list[RawEvent]:
    """Return at most `limit` events that match every filter, newest first.

    Both times are inclusive. Days are read one by one from the newest, so that a small `limit`
    touches few partitions. Raises DatabaseError, also if more than `seconds` have passed while
    events are still wanted and days are left to read.
    """
    conditions = sql.SQL(" ").join(
        _condition(name, filters[name]) for name in FILTERS if name in filters
    )
    give_up = time.monotonic() + seconds
    found: list[RawEvent] = []
    with database.connect() as connection, connection.transaction():
        connection.execute("set transaction isolation level repeatable read read only")
        name = "newest_events_by_type" if _can_merge_types(connection, filters) else "newest_events"
        statement = sql.SQL(query(__package__, name)).format(filters=conditions)
        span = {"first": _day(earliest), "last": _day(latest)}
        scalar = connection.cursor(row_factory=scalar_row)
        days: list[date] = scalar.execute(
            query(__package__, "open_days_newest_first"), span
        ).fetchall()
        events = connection.cursor(row_factory=class_row(RawEvent))
        for read, day in enumerate(days):
            if read and time.monotonic() > give_up:
                raise DatabaseError("reading raw events took too long", "57014")
            start, end = window(day)
            bounds = {
                "day": day,
                "start": max(start, earliest) if earliest else start,
                "end": (
                    end if latest is None or latest >= end else latest + timedelta(microseconds=1)
                ),
                "limit": limit - len(found),
            }
            found += events.execute(statement, {**filters, **bounds}).fetchall()
            if len(found) >= limit:
                break
    return found


def _condition(name: LiteralString, value: str) -> sql.Composed:
    """Return the condition of a filter; `(none)` finds the events without a route or an entity."""
    column = sql.Identifier(name)
    if value == NO_VALUE:
        return sql.SQL("and {} is null").format(column)
    return sql.SQL("and {} = {}").format(column, sql.Placeholder(name))


def _can_merge_types(connection: Connection, filters: Mapping[str, str]) -> bool:
    """Return whether to read the newest events of each app and type from the index, and merge them.

    With filters other than app and event type, this could read most of an app's events only to skip
    them. The workers of a cluster cannot read this way; there each worker sorts only its own part
    of the day.
    """
    return filters.keys() <= {"app_name", "event_type"} and not distributed_tables(connection)


def _day(at: datetime | None) -> date | None:
    return None if at is None else at.astimezone(UTC).date()
