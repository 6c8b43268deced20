"""Fixtures of the tests of the schema."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress

import psycopg
import pytest
from conftest import Fill
from psycopg import errors
from support.days import RETENTION_DAYS, due_day, yesterday

from signal_pipeline.cli.psql import reader_url
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.urls import with_database
from signal_pipeline.privacy import retention
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.duckdb_engine import DuckdbEngine
from signal_pipeline.rollups.models import Models
from signal_pipeline.schema.migrate import migrate
from signal_pipeline.settings import Settings

_numbers = itertools.count(1)


@pytest.fixture
def empty(server: str) -> Iterator[Database]:
    """An empty database of its own."""
    name = f"signal_empty_{next(_numbers)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {name}")
        yield Database(with_database(server, name))
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def reader(database: Database, settings: Settings, models: Models) -> Iterator[Connection]:
    """A session of the reader itself, in a database that was migrated as it is."""
    migrate(database, settings, models)  # A copy of a database does not have its privileges.
    with psycopg.connect(reader_url(database), autocommit=True) as connection:
        yield connection


@pytest.fixture
def as_role(database: Database, connection: Connection) -> Callable[[str], Database]:
    """The test's database, by a login that has one role."""

    def log_in(role: str) -> Database:
        login = f"test_{role}"
        with suppress(errors.DuplicateObject):
            connection.execute(f"create role {login} login in role {role}")  # type: ignore[arg-type]
        return Database(database.url.replace("postgres@", f"{login}@"))

    return log_in


@pytest.fixture
def filled(fill: Fill, database: Database, models: Models, settings: Settings) -> None:
    """Yesterday, and a due day, both built; the due one is purged."""
    for day in (due_day(), yesterday()):
        fill(day, 60)
        build_day(database, DuckdbEngine(database.url, settings.tmp_path), models, day)
    assert retention.purge_due_days(database, models, RETENTION_DAYS).purged == [due_day()]
