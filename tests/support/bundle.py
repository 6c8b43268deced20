"""A whole Signal for a test: its database, its settings and models, and what is done with them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from support.traffic import traffic

from signal_pipeline.ingest.pipeline import Ingest, utc_now
from signal_pipeline.postgres.database import Database
from signal_pipeline.privacy.retention import PurgeResult, purge_due_days
from signal_pipeline.rollups.build import DayBuild, build_day
from signal_pipeline.rollups.duckdb_engine import DuckdbEngine
from signal_pipeline.rollups.models import Models
from signal_pipeline.schema.migrate import migrate
from signal_pipeline.settings import Settings


@dataclass(frozen=True)
class SignalBundle:
    """Signal over one database."""

    database: Database
    settings: Settings
    models: Models

    def over(self, database: Database) -> SignalBundle:
        """The same Signal over another database."""
        settings = self.settings.model_copy(update={"database_url": database.url})
        return replace(self, database=database, settings=settings)

    def migrate(self) -> None:
        """Bring the schema up to date."""
        migrate(self.database, self.settings, self.models)

    def ingest(self, clock: Callable[[], datetime] = utc_now) -> closing[Ingest]:
        """An ingest, closed at the end of its context."""
        return closing(Ingest.from_settings(self.settings, self.database, clock))

    def fill(self, day: date, count: int = 25, seed: int = 1) -> None:
        """Ingest good traffic of a day, as it came then."""
        assert self.settings.start_date is None or day >= self.settings.start_date
        evening = datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC)
        with self.ingest(lambda: evening) as ingest:
            assert ingest.ingest_lines(traffic(day, count, seed)).accepted == count

    def build(self, day: date) -> DayBuild:
        """Build every rollup of a day."""
        engine = DuckdbEngine(self.database.url, self.settings.tmp_path)
        return build_day(self.database, engine, self.models, day)

    def purge(self) -> PurgeResult:
        """Purge every day that is due."""
        return purge_due_days(self.database, self.models, self.settings.retention_days)

    def rows(self, query: str, values: list[object] | None = None) -> list[tuple[Any, ...]]:
        """What a statement finds."""
        with self.database.connect() as connection:
            return connection.execute(query, values).fetchall()  # type: ignore[arg-type]
