"""The command `retention`: who deleted what, and why, is written down."""

from __future__ import annotations

import os

import pytest
from conftest import Build, Fill
from psycopg import sql
from support.commands import Signal, error_of, last_json
from support.data_subject import PERSON
from support.days import due_day, yesterday

from signal_pipeline.postgres.database import Connection

pytestmark = pytest.mark.embedded_only


def test_the_forced_purge_is_audited_with_an_actor_and_a_short_reason(
    signal: Signal, fill: Fill, connection: Connection
) -> None:
    due = due_day()
    fill(due)
    done = signal("retention", "--purge-incomplete", due, "--reason", "r" * 300)
    assert done.returncode == 0, done.stderr
    (row,) = connection.execute(
        "select action, length(actor), details->>'reason' from signal.audit"
    ).fetchall()
    assert row == ("purge_incomplete", 32, "r" * 200)


def test_the_audits_actor_is_the_systems_user_whatever_the_environment_says(
    signal: Signal, fill: Fill, connection: Connection
) -> None:
    fill(yesterday())
    for name in ("mallory", "alice"):
        signal("subject", "--day", yesterday(), stdin=PERSON, LOGNAME=name, USER=name)
    rows = connection.execute("select count(*), count(distinct actor) from signal.audit").fetchall()
    assert rows == [(2, 1)]


def test_a_reason_in_brackets_is_shown_as_it_was_given(signal: Signal, fill: Fill) -> None:
    due = due_day()
    fill(due)
    assert (
        signal(
            "retention", "--purge-incomplete", due, "--reason", "disk lost [/dev/sdb]\x1b[2J"
        ).returncode
        == 0
    )
    shown = signal("status", "--receipts", "--json")
    assert shown.returncode == 0, shown.stderr
    assert "incomplete: disk lost [/dev/sdb]\\x1b[2J" in shown.stderr
    (receipt,) = last_json(shown)["receipts"]  # type: ignore[misc]
    assert receipt["reason"] == "disk lost [/dev/sdb]\x1b[2J"
    refused = signal("retention", "--purge-incomplete", due, "--reason", os.fsdecode(b"\xff"))
    assert refused.returncode == 2
    assert "is not UTF-8 text" in refused.stderr


def test_a_run_in_which_postgresql_refuses_every_day_fails(
    signal: Signal, fill: Fill, build: Build, connection: Connection
) -> None:
    """The cause is then probably one for all days, such as tables of another login."""
    due = due_day()
    fill(due)
    build(due)
    table = sql.Identifier("signal", f"events_{due:%Y%m%d}")
    connection.execute(sql.SQL("create view public.of_one_day as select * from {}").format(table))
    done = signal("retention")
    assert done.returncode == 1
    assert f"1 day(s) that could be purged; the first is {due}: " in error_of(done)
    connection.execute("drop view public.of_one_day")
    assert signal("retention").returncode == 0
