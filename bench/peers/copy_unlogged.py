"""The physical limit of getting rows into PostgreSQL.

It is the COPY of ready rows into an unlogged table without any index.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from signal_pipeline.postgres.database import Connection

BLOCK = 1 << 20


def write_rows(connection: Connection, path: Path, form: Literal["text", "binary"]) -> None:
    """Write every stored event to a file, in a format of COPY."""
    statement = f"copy (select * from signal.events) to stdout (format {form})"
    with path.open("wb") as file, connection.cursor() as cursor, cursor.copy(statement) as copy:
        for block in copy:
            file.write(block)


def copy_in(connection: Connection, path: Path, form: Literal["text", "binary"]) -> None:
    """Copy the file into a new table."""
    connection.execute("drop table if exists copied")
    connection.execute("create unlogged table copied (like signal.events)")
    statement = f"copy copied from stdin (format {form})"
    with path.open("rb") as file, connection.cursor() as cursor, cursor.copy(statement) as copy:
        while block := file.read(BLOCK):
            copy.write(block)
