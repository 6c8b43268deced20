"""The probe of the books: whether each day holds the raw events that were counted into it."""

from __future__ import annotations

from datetime import date
from typing import Any

from psycopg import sql
from psycopg.rows import scalar_row

from signal_pipeline.dagster.names import RAW_EVENTS
from signal_pipeline.dagster.probes.probe import Finding, Probe
from signal_pipeline.days.calendar import for_each_day
from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.query import query


def books_reconcile(connection: Connection) -> Finding:
    """Check that the raw events of every open day are those that the books and the builds counted.

    Invariants 1 and 10. Counts the raw events of all kept days.
    """
    scalar = connection.cursor(row_factory=scalar_row)
    days = scalar.execute("select day from signal.days where state = 'open'").fetchall()
    rows = _unbalanced(connection, days) if days else []
    if not rows:
        return Finding(
            True, "Every open day holds the raw events that its books and its builds counted."
        )
    listed = {
        str(day): (
            f"books {expected:,}, raw {events:,}"
            + ("" if counted is None else f", built from {counted:,}")
        )
        for day, expected, events, counted in rows
    }
    return Finding(
        False,
        f"{len(rows)} day(s) do not hold the raw events that their books or builds counted; the"
        f" first is {rows[0][0]}. Restore the missing rows from a backup; builds of such days are"
        " refused meanwhile.",
        {"days": listed},
    )


def _unbalanced(connection: Connection, days: list[date]) -> list[tuple[Any, ...]]:
    counted = for_each_day(query("signal_pipeline.days", "count_day"), days)
    return connection.execute(
        sql.SQL(query(__package__, "books")).format(counted=counted)
    ).fetchall()


PROBES = [
    Probe(
        "books_reconcile",
        RAW_EVENTS,
        "ERROR",
        "Every open day holds the raw events that its books and its builds counted.",
        lambda connection, settings: books_reconcile(connection),
        reads_raw_events=True,
    )
]
