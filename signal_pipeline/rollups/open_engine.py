"""The choice of the engine that computes rollups: the setting `SIGNAL_ROLLUP_ENGINE`."""

from __future__ import annotations

from signal_pipeline.postgres.database import Database
from signal_pipeline.rollups.engine import Engine
from signal_pipeline.settings import Settings


def open_engine(settings: Settings, database: Database, *, many_days: bool = False) -> Engine:
    """Return the configured engine for this database.

    With `many_days`, the caller builds several days at once, so each build uses one thread.
    """
    # Import an engine only when a day is to be built: DuckDB and Arrow would make up a quarter of
    # the time to load the definitions.
    if settings.rollup_engine == "postgres":
        from signal_pipeline.rollups.postgres_engine import PostgresEngine

        return PostgresEngine()
    from signal_pipeline.rollups.duckdb_engine import DuckdbEngine

    return DuckdbEngine(database.url, settings.tmp_path, threads=1 if many_days else 2)
