"""Where the raw events are: on this server, or on the workers of a Citus cluster."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from psycopg import sql
from psycopg.rows import class_row, scalar_row

from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.query import query


@dataclass(frozen=True, slots=True)
class DistributedTable:
    """A table whose rows are in shards on the workers, by the hash of a column.

    `copies` is how many copies the shard with the most copies has.
    """

    name: str
    by_column: str
    shards: int
    copies: int


def citus_version(connection: Connection) -> str | None:
    """Return the version of the extension citus, or None on plain PostgreSQL."""
    scalar = connection.cursor(row_factory=scalar_row)
    version: str | None = scalar.execute(
        "select extversion from pg_extension where extname = 'citus'"
    ).fetchone()
    return version


def distributed_tables(connection: Connection) -> dict[str, DistributedTable]:
    """Return Signal's distributed tables by name; empty on plain PostgreSQL."""
    if citus_version(connection) is None:
        return {}
    cursor = connection.cursor(row_factory=class_row(DistributedTable))
    tables = cursor.execute(query(__package__, "distributed_tables")).fetchall()
    return {table.name: table for table in tables}


def partition_bytes(connection: Connection, day: date) -> int:
    """Return the bytes of a day's events and their indexes on all nodes; 0 without a partition."""
    # On a cluster, PostgreSQL's own function finds only an empty table.
    name = (
        "citus_total_relation_size" if distributed_tables(connection) else "pg_total_relation_size"
    )
    scalar = connection.cursor(row_factory=scalar_row)
    found: int | None = scalar.execute(
        sql.SQL("select {}(to_regclass(%s))").format(sql.Identifier(name)),
        [f"signal.events_{day:%Y%m%d}"],
    ).fetchone()
    return found or 0
