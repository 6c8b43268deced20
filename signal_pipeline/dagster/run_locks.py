"""The lock that a run of Dagster holds while its process lives.

PostgreSQL knows at once when a process dies. This module holds the lock and finds out which runs
hold one; `liveness.py` decides what becomes of a run without its lock. The lock is shared, because
a run can hold it twice: once for the command that executes it and once for its resource.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

import psycopg

from signal_pipeline.errors import SignalError
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.locks import LockClass
from signal_pipeline.postgres.query import query

HEARTBEAT_SECONDS = 2.0


class RunLock:
    """Shows that a run lives, until `release` or the end of the process.

    A thread watches the connection and takes the lock again if it was lost. So a server that
    restarts, or that closes idle sessions, does not make a living run look dead. `space` names the
    database that holds the lock: see `lock_space`. Raises psycopg.Error or DatabaseError if the
    lock cannot be taken at first.
    """

    def __init__(self, database: Database, run_id: str) -> None:
        self._database = database
        self._key = [LockClass.RUN.value, _number(run_id)]
        self._connection = self._take_lock()
        self.space = lock_space(self._connection)
        self._released = threading.Event()
        self._keeper = threading.Thread(target=self._hold_lock, name="signal-run-lock", daemon=True)
        self._keeper.start()

    def release(self) -> None:
        """Give the lock back."""
        self._released.set()
        self._keeper.join()

    def _take_lock(self) -> Connection:
        connection = self._database.connect()
        connection.execute(query(__package__, "take_run_lock"), self._key)
        return connection

    def _hold_lock(self) -> None:
        while not self._released.wait(HEARTBEAT_SECONDS):
            try:
                self._connection.execute("select 1")
            except psycopg.Error:
                self._connection.close()
                with suppress(psycopg.Error, SignalError):  # The next beat tries again.
                    self._connection = self._take_lock()
        self._connection.close()


@contextmanager
def hold_run_lock(database: Database, run_id: str) -> Iterator[None]:
    """Show that the run lives, until the end of the context or of the process."""
    lock = RunLock(database, run_id)
    try:
        yield
    finally:
        lock.release()


def living_runs(connection: Connection, run_ids: Collection[str]) -> set[str]:
    """Return the runs whose lock somebody holds in the database of this connection.

    It takes no lock itself.
    """
    # PostgreSQL shows the number without its sign.
    numbers = {run_id: _number(run_id) % 2**32 for run_id in run_ids}
    if not numbers:
        return set()
    held = connection.execute(
        query(__package__, "held_run_locks"),
        {"lock": LockClass.RUN.value, "numbers": list(numbers.values())},
    ).fetchall()
    taken = {number for (number,) in held}
    return {run_id for run_id, number in numbers.items() if number in taken}


def lock_space(connection: Connection) -> str:
    """Return a name for the place of this connection's locks.

    Another database has another name, even one that was restored from a dump of this one.
    """
    row = connection.execute(query(__package__, "lock_space")).fetchone()
    assert row
    return str(row[0])


def _number(run_id: str) -> int:
    return int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:4], "big", signed=True)
