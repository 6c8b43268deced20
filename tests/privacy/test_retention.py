"""Retention: what is proven before a day is purged, and what is deleted with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta
from typing import Any

import pytest
from conftest import START_DATE, Build, Fill
from psycopg import sql
from support.days import days_ago, due_day, today, tomorrow
from support.stored import count

from signal_pipeline.days.freshness import day_statuses
from signal_pipeline.days.receipts import list_receipts
from signal_pipeline.postgres.database import Connection, Database, DatabaseError
from signal_pipeline.privacy import day_purge
from signal_pipeline.privacy.purge_proof import PurgeFacts
from signal_pipeline.privacy.retention import RetentionError, purge_due_days, purge_incomplete
from signal_pipeline.rollups.build import BuildRefusedError
from signal_pipeline.rollups.models import Models

KEEP = 180


def test_a_proven_day_goes_with_its_keys_and_leaves_a_receipt(
    database: Database, connection: Connection, models: Models, fill: Fill, build: Build
) -> None:
    kept = due_day() + timedelta(days=1)
    for day in (due_day(), kept):
        fill(day)
        build(day)
    result = purge_due_days(database, models, KEEP)
    assert result.as_dict() == {"purged": [str(due_day())], "kept": [], "dry_run": False}
    assert count(connection, "select count(*) from signal.events") == 25
    assert (
        count(connection, "select count(*) from signal.event_keys where day = %s", due_day()) == 0
    )
    assert count(connection, "select count(*) from signal.event_keys where day = %s", kept) == 25
    partition = connection.execute(
        "select to_regclass(%s)", [f"signal.events_{due_day():%Y%m%d}"]
    ).fetchone()
    assert partition == (None,)
    (receipt,) = list_receipts(connection)
    assert (receipt.day, receipt.raw_events, receipt.keys, receipt.incomplete) == (
        due_day(),
        25,
        25,
        False,
    )
    assert receipt.first_event is not None
    assert receipt.first_event.astimezone(UTC).date() == due_day()
    assert receipt.bytes > 0


def test_a_day_is_due_the_day_after_its_last_kept_date(
    database: Database, models: Models, fill: Fill, build: Build
) -> None:
    edge = days_ago(KEEP)
    fill(edge)
    build(edge)
    assert purge_due_days(database, models, KEEP).purged == []
    assert purge_due_days(database, models, KEEP, as_of=tomorrow(), dry_run=True).purged == [edge]


def test_a_server_that_ends_idle_sessions_does_not_end_a_purge_whose_proof_takes_long(
    database: Database,
    connection: Connection,
    models: Models,
    fill: Fill,
    build: Build,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill(due_day())
    build(due_day())
    for setting in ("idle_in_transaction_session_timeout", "idle_session_timeout"):
        connection.execute(
            sql.SQL("alter database {} set {} = 300").format(
                sql.Identifier(connection.info.dbname), sql.Identifier(setting)
            )
        )
    proven = day_purge.prove

    def prove_slowly(*arguments: Any) -> None:
        arguments[0].execute("select pg_sleep(1)")
        proven(*arguments)

    monkeypatch.setattr(day_purge, "prove", prove_slowly)
    assert purge_due_days(database, models, KEEP).purged == [due_day()]


def test_a_proof_from_a_server_that_is_behind_proves_nothing(
    database: Database,
    models: Models,
    fill: Fill,
    build: Build,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A URL of several hosts can lead the connection that proves to a standby."""
    fill(due_day())
    build(due_day())
    read = day_purge.read_purge_facts

    def read_behind(*arguments: Any) -> PurgeFacts:
        facts = read(*arguments)
        return replace(facts, version=facts.version - 1)

    with monkeypatch.context() as behind:
        behind.setattr(day_purge, "read_purge_facts", read_behind)
        with pytest.raises(RetentionError, match="another server, which is behind"):
            purge_incomplete(database, models, due_day(), "a reason", KEEP)
    assert purge_due_days(database, models, KEEP).purged == [due_day()]


def test_as_of_after_today_is_refused_without_dry_run(database: Database, models: Models) -> None:
    with pytest.raises(RetentionError, match="only in a dry run"):
        purge_due_days(database, models, KEEP, as_of=tomorrow())


def test_a_dry_run_changes_nothing(
    database: Database, connection: Connection, models: Models, fill: Fill, build: Build
) -> None:
    fill(due_day())
    build(due_day())
    result = purge_due_days(database, models, KEEP, dry_run=True)
    assert result.purged == [due_day()]
    assert count(connection, "select count(*) from signal.events") == 25
    assert list_receipts(connection) == []


BREAKS = {
    "never built": ("delete from signal.builds", "has no build"),
    "one rollup stale": ("update signal.days set version = version + 1", "is stale"),
    "another model": (
        "update signal.builds set model_checksum = 'x' where rollup = 'daily_os_activity'",
        "is stale",
    ),
    "raw events missing": (
        "delete from signal.events where id = (select min(id::text) from signal.events)::uuid",
        "raw events are missing: 24 of 25",
    ),
    "rollup rows missing": (
        (
            "delete from signal.daily_route_activity where ctid = (select min(ctid) from"
            " signal.daily_route_activity)"
        ),
        "does not hold the rows",
    ),
    "rollup rows changed": (
        "update signal.daily_app_activity set events = events + 1 where event_type = '(all)'",
        "does not add up",
    ),
}


@pytest.mark.parametrize(("statement", "reason"), BREAKS.values(), ids=BREAKS.keys())
def test_a_day_that_fails_its_proof_is_kept_and_holds_up_no_other(
    database: Database,
    connection: Connection,
    models: Models,
    fill: Fill,
    build: Build,
    statement: str,
    reason: str,
) -> None:
    fill(due_day())
    build(due_day())
    connection.execute(statement)  # type: ignore[arg-type]
    other = due_day() - timedelta(days=1)
    fill(other)
    build(other)
    result = purge_due_days(database, models, KEEP)
    assert result.purged == [other]
    assert list(result.kept) == [due_day()]
    assert reason in result.kept[due_day()]
    assert count(connection, "select count(*) from signal.events") >= 24


def test_a_forced_purge_needs_a_reason_and_labels_the_day_for_ever(
    database: Database, connection: Connection, models: Models, fill: Fill
) -> None:
    fill(due_day())
    with pytest.raises(RetentionError, match="stated reason"):
        purge_incomplete(database, models, due_day(), "  ", KEEP)
    with pytest.raises(RetentionError, match="not due"):
        purge_incomplete(database, models, today(), "why not", KEEP)
    assert purge_incomplete(database, models, due_day(), "x" * 300, KEEP).purged == [due_day()]
    (receipt,) = list_receipts(connection)
    assert receipt.incomplete
    assert receipt.reason == "x" * 200
    assert count(connection, "select count(*) from signal.events") == 0
    (status,) = day_statuses(connection, models.checksums)
    assert set(status.rollups.values()) == {"unavailable"}


def test_rollups_that_were_built_before_a_forced_purge_are_incomplete(
    database: Database, connection: Connection, models: Models, fill: Fill, build: Build
) -> None:
    fill(due_day())
    build(due_day())
    fill(due_day(), 5, seed=2)
    purge_incomplete(database, models, due_day(), "cannot be rebuilt", KEEP)
    (status,) = day_statuses(connection, models.checksums)
    assert set(status.rollups.values()) == {"incomplete"}


def test_days_that_cannot_hold_events_are_refused(build: Build) -> None:
    with pytest.raises(BuildRefusedError, match="start date"):
        build(START_DATE - timedelta(days=1))
    with pytest.raises(BuildRefusedError, match="after today"):
        build(tomorrow())


def test_an_unreachable_database_is_a_clear_error(models: Models) -> None:
    gone = Database("postgresql://nobody@127.0.0.1:1/none?connect_timeout=2")
    with pytest.raises(DatabaseError, match="cannot reach PostgreSQL"):
        purge_due_days(gone, models, KEEP)
