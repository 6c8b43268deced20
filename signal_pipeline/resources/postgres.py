"""The database resource: a thin holder, so that assets, checks and sensors say what they need.

It has no fields: addresses and passwords are read from the environment inside a run, and never reach Dagster's storage.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from signal_pipeline.rollups.engine import Engine
from signal_pipeline.rollups.engines import open_engine
from signal_pipeline.settings import load_settings
from signal_pipeline.store.database import Connection, Database, open_database, safe_errors
from signal_pipeline.store.run_locks import held_run


class PostgresResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Signal's PostgreSQL. A run that has this resource holds its lock, by which `abandoned_runs.py` sees that it lives."""

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[PostgresResource]:
        """The resource itself; of a run, with its lock."""
        if context.run is None:
            yield self
            return
        with held_run(self.database(), context.run.run_id):
            yield self

    def database(self) -> Database:
        """The configured database, the embedded one started if need be."""
        return open_database(load_settings())

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection in autocommit mode; its errors come without row text."""
        with safe_errors(), self.database().connect() as connection:
            yield connection

    def engine(self, *, many_days: bool) -> Engine:
        """The engine of `SIGNAL_ROLLUP_ENGINE`, for one day or for many."""
        return open_engine(load_settings(), self.database(), many_days=many_days)
