"""Fixtures of the tests of the schema."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from signal_pipeline.cli.psql import reader_url
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.rollups.models import Models
from signal_pipeline.schema.migrate import migrate
from signal_pipeline.settings import Settings


@pytest.fixture
def reader(database: Database, settings: Settings, models: Models) -> Iterator[Connection]:
    """A session of the reader itself, in a database that was migrated as it is."""
    migrate(database, settings, models)  # A copy of a database does not have its privileges.
    with psycopg.connect(reader_url(database), autocommit=True) as connection:
        yield connection
