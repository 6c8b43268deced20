"""The lock that a run of Dagster holds while its process has a connection: PostgreSQL knows at once when a process dies.

A run may hold it twice, once for the command that executes it and once for its resource; so it is shared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from signal_pipeline.store.database import Connection, Database

RUN_LOCK = 7_291_004  # The class of the advisory locks on runs.


@contextmanager
def held_run(database: Database, run_id: str) -> Iterator[None]:
    """Show that the run lives, until the end of the context or of the process."""
    with database.connect() as connection:
        connection.execute("select pg_advisory_lock_shared(%s, %s)", [RUN_LOCK, _number(run_id)])
        yield


def run_lives(connection: Connection, run_id: str) -> bool:
    """Whether somebody holds the run's lock: then nobody else can have it alone."""
    key = [RUN_LOCK, _number(run_id)]
    free = connection.execute("select pg_try_advisory_lock(%s, %s)", key).fetchone() == (True,)
    if free:
        connection.execute("select pg_advisory_unlock(%s, %s)", key)
    return not free


def _number(run_id: str) -> int:
    return int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:4], "big", signed=True)
