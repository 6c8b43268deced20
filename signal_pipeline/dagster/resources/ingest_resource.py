"""The ingest resource: the small write path that runs use, around the same `Ingest` as every other
way in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import dagster as dg

from signal_pipeline.events.hashing import check_secret
from signal_pipeline.ingest.landing import Drained, drain_landing
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import open_database
from signal_pipeline.settings import load_settings, salt_secret


class IngestResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Writes events; the secret is read from the environment inside a run and held in memory
    only.
    """

    @contextmanager
    def ingest(self) -> Iterator[Ingest]:
        """An ingest for the configured database, closed at the end."""
        with closing(Ingest.from_settings(load_settings())) as ingest:
            yield ingest

    def drain_landing(self) -> Drained:
        """Ingest every landed file, each exactly once, and remove it."""
        settings = load_settings()
        secret = check_secret(salt_secret(settings))
        with self.ingest() as ingest:
            return drain_landing(open_database(settings), ingest, settings.landing_path, secret)
