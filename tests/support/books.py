"""What a request left behind: the counts in the books, and the stored row."""

from __future__ import annotations

from typing import Any

from signal_pipeline.postgres.database import Connection

Books = dict[tuple[str, str, str, str], int]


def books(rows: Connection) -> Books:
    """Today's counts of the books, by app, type, outcome and reason."""
    return {
        (str(app), str(kind), str(result), str(reason)): int(str(events))
        for app, kind, result, reason, events in rows.execute(
            "select app_name, event_type, outcome, reason, events from signal.books"
        )
    }


def added(before: Books, after: Books) -> Books:
    """The counts that were booked in between."""
    return {
        key: events - before.get(key, 0)
        for key, events in after.items()
        if events != before.get(key, 0)
    }


def stored_event(rows: Connection, fields: dict[str, object]) -> dict[str, Any]:
    """The stored row of an event."""
    cursor = rows.execute(
        "select * from signal.events where client_event_id = %s", [fields["clientEventId"]]
    )
    assert cursor.description is not None
    (row,) = cursor.fetchall()
    return dict(zip([column.name for column in cursor.description], row, strict=True))
