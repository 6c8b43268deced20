"""Receipts: the stored records of purges."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from psycopg.rows import class_row

from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.query import query


@dataclass(frozen=True, slots=True)
class Receipt:
    """One purged day: what was there and when it was deleted.

    `bytes` is the disk space of its partition, indexes included.
    """

    day: date
    purged_at: datetime
    raw_events: int
    keys: int
    first_event: datetime | None
    last_event: datetime | None
    version: int
    bytes: int
    incomplete: bool
    reason: str | None


def list_receipts(connection: Connection) -> list[Receipt]:
    """Return every receipt, oldest day first."""
    cursor = connection.cursor(row_factory=class_row(Receipt))
    return cursor.execute(query(__package__, "receipts")).fetchall()
