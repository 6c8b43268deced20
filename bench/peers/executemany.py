"""Bulk inserts as they are often written: `executemany` of SQLAlchemy and of psycopg.

Both insert batches of 10,000 into the same plain table.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql import insert

from bench.peers.orm_rows import PlainEvent, values
from signal_pipeline.events.event import AcceptedEvent

BATCH = 10_000


def with_sqlalchemy(engine: Engine, events: Sequence[AcceptedEvent]) -> None:
    """Run `INSERT … ON CONFLICT DO NOTHING` through SQLAlchemy's core."""
    statement = insert(PlainEvent).on_conflict_do_nothing(index_elements=["client_event_id"])
    for at in range(0, len(events), BATCH):
        with engine.begin() as connection:
            connection.execute(statement, [values(event) for event in events[at : at + BATCH]])


def with_psycopg(url: str, events: Sequence[AcceptedEvent]) -> None:
    """Do the same through psycopg 3."""
    columns = list(values(events[0]))
    statement = (
        f"insert into plain_events ({', '.join(columns)}) values"
        f" ({', '.join(['%s'] * len(columns))}) on conflict (client_event_id) do nothing"
    )
    with psycopg.connect(url) as connection:
        for at in range(0, len(events), BATCH):
            batch = [tuple(values(event).values()) for event in events[at : at + BATCH]]
            connection.cursor().executemany(statement, batch)
            connection.commit()
