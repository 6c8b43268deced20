"""Reads views as rows."""

from __future__ import annotations

from typing import Any

from signal_pipeline.postgres.database import Connection


def rows(connection: Connection, query: str, *values: object) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    return connection.execute(query, values).fetchall()  # type: ignore[arg-type]
