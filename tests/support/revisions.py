"""Databases that are empty, or of earlier versions."""

from __future__ import annotations

from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import NullPool, create_engine

from signal_pipeline.postgres.database import Database
from signal_pipeline.settings import Settings


def migrate_to(database: Database, revision: str) -> None:
    """Make the schema of an empty database as of a migration, beginning 300 days ago."""
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(database.url), poolclass=NullPool
    )
    with engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("create schema signal")
        config = Config()
        config.set_main_option("script_location", "signal_pipeline.schema:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.exec_driver_sql(
            "insert into signal.instance (start_date) values (current_date - 300)"
        )


def configured(database: Database, home: Path, **changes: object) -> Settings:
    """Settings for a database, without a start date unless one is given."""
    values = {
        "database_url": database.url,
        "env": "development",
        "home": home,
        "start_date": None,
        **changes,
    }
    return Settings(_env_file=None, **values)  # type: ignore[arg-type]
