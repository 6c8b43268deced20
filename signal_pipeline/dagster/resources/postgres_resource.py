"""The database resource, by which assets, checks and sensors say that they need the database.

It has no fields. Addresses and passwords are read from the environment inside a run, and never
reach Dagster's storage.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from signal_pipeline.dagster.run_locks import RunLock
from signal_pipeline.dagster.runs import LOCK_TAG, location_of
from signal_pipeline.postgres.database import Connection, Database, open_database, safe_errors
from signal_pipeline.rollups.engine import Engine, open_engine
from signal_pipeline.settings import load_settings


class PostgresResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Signal's PostgreSQL.

    A run that has this resource holds a lock, by which `liveness.py` sees that the run lives.
    """

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[PostgresResource]:
        """Yield the resource itself; in a run, hold the run's lock meanwhile."""
        if context.run is None or context.instance is None:
            yield self
            return
        with safe_errors():
            lock = RunLock(self.database(), context.run.run_id)
        try:
            if context.run.tags.get(LOCK_TAG) != lock.space:
                context.instance.add_run_tags(context.run.run_id, {LOCK_TAG: lock.space})
            yield self
        finally:
            # Dagster writes the end of a run after it has closed the run's resources. A process
            # that was launched for the run ends just after that, so it keeps the lock until then.
            # A process that goes on gives the lock back now.
            if location_of(context.run) is None:
                lock.release()

    def database(self) -> Database:
        """Return the configured database; the embedded one is started if it is not running."""
        return open_database(load_settings())

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Open a connection in autocommit mode; its errors come without row text."""
        with self.database().connect() as connection:
            yield connection

    def engine(self, *, many_days: bool) -> Engine:
        """Return the engine of `SIGNAL_ROLLUP_ENGINE`, for one day or for many."""
        return open_engine(load_settings(), self.database(), many_days=many_days)
