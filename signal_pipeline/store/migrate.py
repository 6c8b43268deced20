"""Bring the schema up to date: Alembic's migrations, then the rollup tables from `schema.yml`.

Safe to run at any time and by several processes at once: everything happens in one transaction under a lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import cast

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import NullPool, create_engine, exc

from signal_pipeline.errors import SignalError
from signal_pipeline.rollups.models import Model
from signal_pipeline.rollups.sql_files import sql as rollup_sql
from signal_pipeline.rollups.tables import migrate_rollups
from signal_pipeline.settings import Settings
from signal_pipeline.store.database import Connection, Database, safe_errors, sql
from signal_pipeline.store.days import today_utc

ROLES = ("signal_writer", "signal_builder", "signal_reader", "signal_admin")


class StartDateError(SignalError):
    """The start date would leave days with data outside."""


def migrate(database: Database, settings: Settings, models: Mapping[str, Model]) -> None:
    """Create or update the schema `signal`; a no-op when it is up to date."""
    # A creator keeps psycopg's own URL rules; SQLAlchemy reads sockets and options differently.
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(database.url, options="-c timezone=UTC"),
        poolclass=NullPool,
        hide_parameters=True,
    )
    with safe_errors():
        try:
            with engine.begin() as connection:
                connection.exec_driver_sql("select pg_advisory_xact_lock(hashtext('signal.migrate'))")
                connection.exec_driver_sql("create schema if not exists signal")
                config = Config()
                config.set_main_option("script_location", "signal_pipeline.store:migrations")
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                driver = cast(Connection, connection.connection.driver_connection)
                _store_start_date(driver, settings)
                driver.execute(rollup_sql("guards"))
                driver.execute(sql("roles"))
                migrate_rollups(driver, models)
        except exc.DBAPIError as error:
            if isinstance(error.orig, psycopg.Error):
                raise error.orig from None
            raise


def missing_roles(database: Database) -> list[str]:
    """The least-privilege roles that the server lacks: whoever migrated last may not make roles. No grants stand then."""
    with safe_errors(), database.connect() as connection:
        rows = connection.execute(
            "select name from unnest(%s::text[]) as name where not exists (select from pg_roles where rolname = name)",
            [list(ROLES)],
        ).fetchall()
    return [cast(str, row[0]) for row in rows]


def _store_start_date(connection: Connection, settings: Settings) -> None:
    stored = _start_date(connection)
    wanted = settings.start_date
    if stored is None:
        first = wanted or today_utc() - timedelta(days=settings.retention_days)
        connection.execute("insert into signal.instance (start_date) values (%s)", [first])
    elif wanted is not None and wanted != stored:
        if wanted > stored and _has_days_before(connection, wanted):
            raise StartDateError(f"SIGNAL_START_DATE {wanted} is later than days that hold data (start date {stored})")
        connection.execute("update signal.instance set start_date = %s", [wanted])


def _start_date(connection: Connection) -> date | None:
    row = connection.execute("select start_date from signal.instance").fetchone()
    return cast(date, row[0]) if row else None


def _has_days_before(connection: Connection, day: date) -> bool:
    return connection.execute("select from signal.days where day < %s limit 1", [day]).fetchone() is not None
