"""The runner of a migration's SQL file."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection


def run_file(connection: Connection, path: Path) -> None:
    """Run every statement of a file as written.

    SQLAlchemy would take a `%` in it for a bind.
    """
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute(path.read_text(encoding="utf-8"))
