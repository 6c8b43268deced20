"""Retention without partitions.

It deletes a day's rows from one indexed table with DELETE, then frees their space with VACUUM.
"""

from __future__ import annotations

from datetime import date

from signal_pipeline.days.calendar import window
from signal_pipeline.postgres.database import Connection


def purge(connection: Connection, day: date) -> None:
    """Delete one day from `plain_table`, and vacuum."""
    connection.execute(
        "delete from plain_table where created_at >= %s and created_at < %s", window(day)
    )
    connection.execute("vacuum plain_table")
