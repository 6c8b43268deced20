"""What to say of an answer without rows if the events asked for came, but all were dropped."""

from __future__ import annotations

from collections.abc import Mapping

from psycopg.rows import scalar_row

from signal_pipeline.days.coverage import Coverage
from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.query import query
from signal_pipeline.rollups.schema_yml import ALL_TYPES


def only_dropped_note(
    connection: Connection, coverage: Coverage, where: Mapping[str, str | None]
) -> list[str]:
    """Return a note if events of the window and filters came, but all of them were dropped.

    Dropped events of bots do not count as events that came. Nobody's use was stored, but that is
    not the same as no use. `where` holds values by the names of keys. If it has a key other than
    the app and the event type, there is no note, since the books do not know that key.
    """
    event_type = where.get("event-type")
    parameters = {
        "first": coverage.first,
        "last": coverage.last,
        "app_name": where.get("app"),
        "event_type": None if event_type == ALL_TYPES else event_type,
    }
    if not where.keys() <= {"app", "event-type"}:
        return []
    scalar = connection.cursor(row_factory=scalar_row)
    if not scalar.execute(query(__package__, "only_dropped"), parameters).fetchone():
        return []
    return [
        "such events came on these days, but all of them were dropped, so that none is in the"
        " numbers: signal_reporting.drops says why"
    ]
