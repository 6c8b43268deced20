"""The ingest resource: how runs write events.

It is a small wrapper around the `Ingest` that the command and the API use too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import dagster as dg

from signal_pipeline.ingest.landing import DrainResult, drain_landing
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.keys import ingest_secret
from signal_pipeline.postgres.database import open_database
from signal_pipeline.settings import load_settings


class IngestResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Writes events.

    The secret is read inside a run, and never reaches Dagster's storage.
    """

    @contextmanager
    def ingest(self) -> Iterator[Ingest]:
        """Open an ingest for the configured database; it is closed at the end."""
        with closing(Ingest.from_settings(load_settings())) as ingest:
            yield ingest

    def drain_landing(self) -> DrainResult:
        """Ingest every landed file, each exactly once, and remove it."""
        settings = load_settings()
        secret = ingest_secret(settings)
        with self.ingest() as ingest:
            return drain_landing(open_database(settings), ingest, settings.landing_path, secret)
