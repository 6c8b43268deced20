"""The runner of Alembic: brings a database to the newest migration, on a connection of Signal's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import NullPool, create_engine, exc

from signal_pipeline.postgres.database import Connection, Database, wait_for_the_disk


@contextmanager
def alembic_upgrade(database: Database) -> Iterator[tuple[Connection, Callable[[], None]]]:
    """Yield a connection inside a transaction, and the function that upgrades the schema in it.

    The transaction commits at the end, or rolls back on an error. Raises psycopg.Error.
    """
    # With a creator, psycopg reads the URL: SQLAlchemy reads sockets and options differently.
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: _connect(database.url),
        poolclass=NullPool,
        hide_parameters=True,
    )
    try:
        with engine.begin() as connection:
            config = Config()
            config.set_main_option("script_location", "signal_pipeline.schema:migrations")
            config.attributes["connection"] = connection
            driver = connection.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)
            yield driver, lambda: command.upgrade(config, "head")
    except exc.DBAPIError as error:
        if isinstance(error.orig, psycopg.Error):
            raise error.orig from None
        raise


def _connect(url: str) -> Connection:
    connection = psycopg.connect(url, options="-c timezone=UTC")
    wait_for_the_disk(connection)
    # SQLAlchemy expects a connection outside of a transaction. The setting survives the commit.
    connection.commit()
    return connection
