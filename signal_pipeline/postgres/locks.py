"""The advisory locks that Signal takes in PostgreSQL: `LockClass` lists all but three.

A lock of two numbers has a class, which says what is locked, and a number within the class. The
classes are constants that nobody else on the server uses.

Two of the three that are not listed are held only until a transaction ends. `signal.migrate`
(schema/migrate.py) is one number, the `hashtext` of its name. `signal.ensure_day`, which the
function `signal.make_partition` takes, has the `hashtext` of its name in place of a class, and the
day as its number. The third, in the server's database `postgres`, is held while Dagster's database
is made (dagster/home.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import LiteralString

from psycopg import errors

from signal_pipeline.postgres.database import Connection

MIGRATE_LOCK = "signal.migrate"


class LockClass(IntEnum):
    """The classes of locks; each comment says what the number within the class is."""

    DAY = 7_291_001  # Days since 2000-01-01. One build, erasure or purge of a day holds it.
    LANDED_FILE = 7_291_002  # The first four bytes of the digest of a landed file's content.
    RUN = 7_291_004  # A hash of the id of a run of Dagster; see dagster/run_locks.py.
    DAEMON = 7_291_005  # 0, in Dagster's database; see dagster/daemon_lock.py.


@contextmanager
def session_lock(
    connection: Connection, lock_class: LockClass, number: int, patience_seconds: int
) -> Iterator[None]:
    """Wait for a lock, and hold it until the context or the session ends.

    Raises psycopg's LockNotAvailable if another session holds the lock for `patience_seconds`.
    """
    with connection.transaction():  # Its end lifts the timeout, but keeps the lock.
        connection.execute(
            "select set_config('lock_timeout', %s, true)", [f"{patience_seconds:d}s"]
        )
        connection.execute("select pg_advisory_lock(%s, %s)", [lock_class.value, number])
    try:
        yield
    finally:
        _unlock(connection, lock_class, number)


@contextmanager
def try_session_lock(connection: Connection, lock_class: LockClass, number: int) -> Iterator[bool]:
    """Yield whether the lock was free; if so, hold it until the context or the session ends."""
    row = connection.execute(
        "select pg_try_advisory_lock(%s, %s)", [lock_class.value, number]
    ).fetchone()
    is_locked = row == (True,)
    try:
        yield is_locked
    finally:
        if is_locked:
            _unlock(connection, lock_class, number)


def transaction_lock(connection: Connection, name: str) -> None:
    """Wait for a named lock, and hold it until the transaction ends."""
    connection.execute("select pg_advisory_xact_lock(hashtext(%s))", [name])


def run_in_short_tries(
    connection: Connection, statement: LiteralString, values: list[object], seconds: float
) -> bool:
    """Run a statement that changes tables; return False if others kept the tables in use.

    Each try waits at most 0.1 s for a lock, and the tries go on for `seconds`. A longer wait in the
    queue for a lock would hold up all readers and writers behind it. Inside a transaction each try
    is a savepoint.
    """
    give_up = time.monotonic() + seconds
    while True:
        try:
            with connection.transaction():
                # This makes a cluster send the next setting on to its workers.
                connection.execute("set local citus.propagate_set_commands = 'local'")
                connection.execute("set local lock_timeout = '100ms'")
                connection.execute(statement, values)
            return True
        except errors.LockNotAvailable:
            if time.monotonic() > give_up:
                return False
            time.sleep(0.1)


def _unlock(connection: Connection, lock_class: LockClass, number: int) -> None:
    if not connection.closed:
        connection.execute("select pg_advisory_unlock(%s, %s)", [lock_class.value, number])
