"""Which engine computes rollups: the setting `SIGNAL_ROLLUP_ENGINE`."""

from __future__ import annotations

from signal_pipeline.postgres.database import Database
from signal_pipeline.rollups.engine import Engine
from signal_pipeline.settings import Settings


def open_engine(settings: Settings, database: Database, *, many_days: bool = False) -> Engine:
    """The configured engine for this database; of many days, several are built at once, each in one
    thread.
    """
    # Imported when a day is to be built: DuckDB and Arrow are a quarter of the time to load the
    # definitions.
    if settings.rollup_engine == "postgres":
        from signal_pipeline.rollups.postgres_engine import PostgresEngine

        return PostgresEngine()
    from signal_pipeline.rollups.duckdb_engine import DuckdbEngine

    return DuckdbEngine(database.url, settings.tmp_path, threads=1 if many_days else 2)
