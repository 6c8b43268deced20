"""The lock that keeps a second `signal-pipeline dev` off one database of Dagster's.

Dagster itself stops no second daemon. It only logs that another one sends heartbeats, and both
would start each scheduled run.
"""

from __future__ import annotations

import time

from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from signal_pipeline.postgres.locks import LockClass
from signal_pipeline.postgres.query import query

CONNECT_SECONDS = 10
REFUSED_SECONDS = 60


class DaemonLock:
    """A lock in Dagster's database, which one session holds until it ends."""

    def __init__(self, url: str) -> None:
        """Prepare the lock without taking it. `url` is for SQLAlchemy, as Dagster takes it."""
        self._engine = create_engine(
            url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            # A server that vanishes without closing the connection holds nobody up for long.
            connect_args={
                "connect_timeout": CONNECT_SECONDS,
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": 20_000,
            },
        )
        self._session: Connection | None = None
        self._refused_since: float | None = None

    def is_lost(self) -> bool:
        """Keep the lock, and return True if another session has had it for a minute.

        The other session can at first be one of ours: a server can keep a session, and its lock,
        for a while after our side of the connection is gone.
        """
        if self.hold():
            self._refused_since = None
        elif self._refused_since is None:
            self._refused_since = time.monotonic()
        return (
            self._refused_since is not None
            and time.monotonic() - self._refused_since > REFUSED_SECONDS
        )

    def hold(self) -> bool:
        """Take the lock if it is free, and return False if another session holds it.

        While the database is away, return True: no daemon can work then. Call this again and again,
        because the lock ends with the session, as when PostgreSQL is restarted.
        """
        try:
            if self._session is None:
                self._session = self._engine.connect()
            lock = {"class": LockClass.DAEMON.value}
            (is_held,) = self._session.exec_driver_sql(
                query(__package__, "hold_daemon_lock"), lock
            ).one()
            return bool(is_held)
        except SQLAlchemyError:
            self.release()
            return True

    def release(self) -> None:
        """End the session, and with it the lock."""
        session, self._session = self._session, None
        if session is not None:
            session.close()
