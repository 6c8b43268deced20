"""The days and partitions that the database makes, and those that it refuses."""

from __future__ import annotations

from datetime import date

import psycopg
import pytest
from psycopg import sql
from support.days import days_ago, today

from signal_pipeline.days import calendar
from signal_pipeline.days.calendar import DayInUseError, day_from_text, day_lock
from signal_pipeline.postgres.database import (
    DAY_AHEAD,
    Connection,
    Database,
    DatabaseError,
    safe_errors,
)


def test_no_day_before_the_start_date_can_be_made(connection: Connection) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="no day .*: days run from"):
        connection.execute("select signal.ensure_day(%s)", [days_ago(402)])
    with pytest.raises(psycopg.errors.RaiseException, match="no partition of .*: days run from"):
        connection.execute("select signal.make_partition(%s)", [days_ago(402)])


@pytest.mark.parametrize(("function", "days"), [("ensure_day", 2), ("make_partition", 8)])
def test_no_day_that_lies_ahead_can_be_made(
    connection: Connection, function: str, days: int
) -> None:
    """It is no fault of an event: one of the clocks is wrong."""
    call = sql.SQL("select signal.{}(%s)").format(sql.Identifier(function))
    with pytest.raises(DatabaseError, match="PostgreSQL's clock says ....-..-..") as refused:  # noqa: SIM117
        with safe_errors():
            connection.execute(call, [days_ago(-days)])
    assert refused.value.sqlstate == DAY_AHEAD
    assert refused.value.is_transient


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


def test_a_session_that_does_not_give_back_a_day_holds_up_nobody_for_ever(
    connection: Connection, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calendar, "LOCK_PATIENCE_SECONDS", 1)
    with database.connect() as hanging, day_lock(hanging, today()):
        held = rf"another session has held the lock of day {today()} for 1 s"
        with pytest.raises(DayInUseError, match=held), day_lock(connection, today()):
            pass
    with day_lock(connection, today()):
        # The bound is that of the wait for the day alone, and the lock outlives it.
        assert connection.execute("show lock_timeout").fetchone() == ("0",)
        with database.connect() as other, pytest.raises(DayInUseError), day_lock(other, today()):
            pass
