"""Which engine computes rollups: the setting `SIGNAL_ROLLUP_ENGINE`."""

from __future__ import annotations

from signal_pipeline.rollups.duckdb_engine import DuckdbEngine
from signal_pipeline.rollups.engine import Engine
from signal_pipeline.rollups.postgres_engine import PostgresEngine
from signal_pipeline.settings import Settings
from signal_pipeline.store.database import Database


def open_engine(settings: Settings, database: Database) -> Engine:
    """The configured engine for this database."""
    if settings.rollup_engine == "postgres":
        return PostgresEngine()
    return DuckdbEngine(database.url, settings.tmp_path)
