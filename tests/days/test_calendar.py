"""The days and partitions that the database makes, and those that it refuses."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest
from support.days import today

from signal_pipeline.postgres.database import Connection


@pytest.mark.parametrize("days", [-401, 2])
def test_no_day_outside_the_calendar_of_the_database_can_be_made(
    connection: Connection, days: int
) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="days run from"):
        connection.execute("select signal.ensure_day(%s)", [today() + timedelta(days=days)])


@pytest.mark.parametrize("days", [-401, 8])
def test_no_partition_outside_the_calendar_of_the_database_can_be_made(
    connection: Connection, days: int
) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="no partition of"):
        connection.execute("select signal.make_partition(%s)", [today() + timedelta(days=days)])
