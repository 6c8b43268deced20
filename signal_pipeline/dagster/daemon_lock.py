"""The lock that keeps two daemons off one database of Dagster's.

Dagster itself only writes to its log that another daemon sends heartbeats. Both would then start
each scheduled run.
"""

from __future__ import annotations

from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from signal_pipeline.postgres.locks import LockClass
from signal_pipeline.postgres.query import query

CONNECT_SECONDS = 10


class DaemonLock:
    """A lock in Dagster's database, which one session holds until it ends."""

    def __init__(self, url: str) -> None:
        """Take nothing yet. `url` is for SQLAlchemy, as Dagster takes it."""
        self._engine = create_engine(
            url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={"connect_timeout": CONNECT_SECONDS},
        )
        self._session: Connection | None = None

    def hold(self) -> bool:
        """Take the lock if it is free, and return False if another session holds it.

        While the database is away, return True: no daemon can work then. Call it again and again,
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
