"""The days and partitions that the database makes, and those that it refuses."""

from __future__ import annotations

from datetime import date, timedelta

import psycopg
import pytest
from psycopg import sql
from support.days import today

from signal_pipeline.days.calendar import day_from_text, day_lock
from signal_pipeline.postgres.database import Connection, Database


@pytest.mark.parametrize("days", [-402, 2])  # Midnight can have passed since the migration.
def test_no_day_outside_the_calendar_of_the_database_can_be_made(
    connection: Connection, days: int
) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="days run from"):
        connection.execute("select signal.ensure_day(%s)", [today() + timedelta(days=days)])


@pytest.mark.parametrize("days", [-402, 8])
def test_no_partition_outside_the_calendar_of_the_database_can_be_made(
    connection: Connection, days: int
) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="no partition of"):
        connection.execute("select signal.make_partition(%s)", [today() + timedelta(days=days)])


@pytest.mark.parametrize("text", ["20260304", "2026-W10-3", "2026-W10", "2026-3-4", " 2026-03-04"])
def test_a_day_has_one_form(text: str) -> None:
    """A week must not be counted as one of its days."""
    with pytest.raises(ValueError):  # noqa: PT011
        day_from_text(text)
    assert day_from_text("2026-03-04") == date(2026, 3, 4)


def test_a_server_that_ends_idle_sessions_does_not_release_a_day(
    connection: Connection, database: Database
) -> None:
    connection.execute(
        sql.SQL("alter database {} set idle_session_timeout = 300").format(
            sql.Identifier(connection.info.dbname)
        )
    )
    with database.connect() as idle, day_lock(idle, today()):
        connection.execute("select pg_sleep(1)")
        assert idle.execute("select 1").fetchone() == (1,)
