"""One table that is not partitioned, with a unique key and the indexes of `signal.events`.

Its indexes grow with the history.
"""

from __future__ import annotations

from collections.abc import Sequence

from signal_pipeline.ingest.event_rows import EVENT_COLUMNS
from signal_pipeline.postgres.database import Connection

INDEXES = (
    "create unique index on plain_table (client_event_id)",
    "create index on plain_table (app_name, event_type, created_at)",
    "create index on plain_table (entity_type, entity_id, created_at) where entity_id is not null",
    "create index on plain_table (user_hash, created_at)",
)
_COLUMNS = ", ".join(EVENT_COLUMNS)


def make(connection: Connection, *, with_history: bool) -> None:
    """Make the table, filled with every stored event or empty, then index it."""
    connection.execute("drop table if exists plain_table")
    connection.execute("create table plain_table (like signal.events)")
    if with_history:
        connection.execute("insert into plain_table select * from signal.events")
    for statement in INDEXES:
        connection.execute(statement)
    connection.execute(
        "create temporary table if not exists plain_stage (like signal.events) on commit delete"
        " rows"
    )
    connection.execute("vacuum analyze plain_table")


def load(connection: Connection, batches: Sequence[bytes]) -> None:
    """Load batches in binary COPY format, each in one transaction.

    They go through a staging table, because duplicates must be left out.
    """
    for rows in batches:
        _load_one(connection, rows)


def _load_one(connection: Connection, rows: bytes) -> None:
    with connection.transaction():
        with connection.cursor().copy(
            f"copy plain_stage ({_COLUMNS}) from stdin (format binary)"
        ) as copy:
            copy.write(rows)
        connection.execute(
            f"insert into plain_table ({_COLUMNS}) select {_COLUMNS} from plain_stage order by"
            " client_event_id on conflict (client_event_id) do nothing"
        )
