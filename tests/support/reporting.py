"""The views that people read: their grains, and their rows."""

from __future__ import annotations

from typing import Any

from support.oracle import DIMENSIONS

from signal_pipeline.postgres.database import Connection

STATES = {
    "app_days": ["day", "app_name"],
    "books": ["day", "app_name", "event_type"],
    "bots": ["day", "app_name", "browser_family", "os_family", "device_type"],
    "days": ["day"],
    "drops": ["day", "app_name", "event_type", "reason"],
    "instance": [],
    "intake": ["received_on", "app_name", "outcome", "reason"],
    "rollup_days": ["day", "rollup"],
    "rollup_freshness": ["rollup"],
}


def grains() -> dict[str, list[str]]:
    """The views of the schema, each with the columns of its grain."""
    wanted = dict(STATES)
    for rollup, dimensions in DIMENSIONS.items():
        wanted[rollup] = ["activity_date", "app_name", *dimensions]
        wanted[f"{rollup}_by_type"] = [*wanted[rollup], "event_type"]
    return wanted


def rows(connection: Connection, query: str, *values: object) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    return connection.execute(query, values).fetchall()  # type: ignore[arg-type]
