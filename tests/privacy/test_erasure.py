"""Erasure: what is deleted, what stays, and what is booked and audited.

Nobody can bring an erased subject back, or erase one unseen.
"""

from __future__ import annotations

import signal
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import psycopg
import pytest
from conftest import Build, Fill
from support.days import days_ago, due_day, today, yesterday
from support.traffic import line, traffic

from signal_pipeline.dagster.probes.book_balance import books_reconcile
from signal_pipeline.days import calendar
from signal_pipeline.days.calendar import day_lock
from signal_pipeline.days.freshness import day_statuses
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database, DatabaseError, safe_errors
from signal_pipeline.privacy import retention
from signal_pipeline.privacy.erasure import NothingKeptError, Subject, erase
from signal_pipeline.privacy.erasure_certificate import Certificate
from signal_pipeline.rollups.models import Models
from signal_pipeline.schema.rollup_tables import migrate_rollups

KEEP = 180
ENTITY = str(uuid.UUID(int=3))
ACTOR = b"a" * 32
Erase = Callable[..., Certificate]


@pytest.fixture
def erased(database: Database) -> Erase:
    """Erases a subject."""
    return lambda subject, **options: erase(database, subject, ACTOR, **options)


def _one(connection: Connection, query: str, *values: object) -> object:
    row = connection.execute(query, values).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return row[0]


def _rollup(connection: Connection, name: str, condition: str = "true") -> list[tuple[object, ...]]:
    return connection.execute(
        f"select r::text from signal.{name} as r where {condition} order by 1"  # type: ignore[arg-type]
    ).fetchall()


def _some_hash(connection: Connection, day: date) -> bytes:
    value = _one(
        connection,
        "select user_hash from signal.events where created_at >= %s and created_at < %s"
        " group by 1 order by count(*) desc, 1 limit 1",
        f"{day} 00:00+00",
        f"{day + timedelta(days=1)} 00:00+00",
    )
    assert isinstance(value, bytes)
    return value


def test_a_user_goes_from_the_day_and_everything_else_stays(
    connection: Connection, fill: Fill, build: Build, erased: Erase
) -> None:
    before = days_ago(2)
    for day in (before, yesterday()):
        fill(day, 60)
        build(day)
    user = _some_hash(connection, yesterday())
    theirs = _one(connection, "select count(*) from signal.events where user_hash = %s", user)
    untouched = _rollup(connection, "daily_app_activity", f"activity_date = '{before}'")

    certificate = erased(Subject.user(user, yesterday()))

    assert [(d.day, d.state, d.events) for d in certificate.days] == [(yesterday(), "open", theirs)]
    assert _one(connection, "select count(*) from signal.events where user_hash = %s", user) == 0
    assert _one(connection, "select count(*) from signal.events") == 120 - int(str(theirs))
    assert (
        _one(connection, "select sum(events)::int from signal.books where outcome = 'erased'")
        == theirs
    )
    assert _one(connection, "select count(*) from signal.event_keys") == 120
    assert books_reconcile(connection).passed
    build(yesterday())
    total = (
        "select sum(events)::int from signal.daily_app_activity where event_type = '(all)' and"
        " activity_date = %s"
    )
    assert _one(connection, total, yesterday()) == 60 - int(str(theirs))
    assert _rollup(connection, "daily_app_activity", f"activity_date = '{before}'") == untouched


def test_the_day_is_stale_until_it_is_rebuilt(
    connection: Connection, models: Models, fill: Fill, build: Build, erased: Erase
) -> None:
    fill(yesterday())
    build(yesterday())
    erased(Subject.user(_some_hash(connection, yesterday()), yesterday()))
    checksums = models.checksums
    (status,) = day_statuses(connection, checksums)
    assert set(status.rollups.values()) == {"stale"}
    build(yesterday())
    (status,) = day_statuses(connection, checksums)
    assert set(status.rollups.values()) == {"fresh"}


def test_a_replay_cannot_bring_erased_events_back(
    connection: Connection, ingest: Ingest, fill: Fill, erased: Erase
) -> None:
    fill(yesterday(), 40)
    user = _some_hash(connection, yesterday())
    left = 40 - sum(day.events for day in erased(Subject.user(user, yesterday())).days)
    again = ingest.ingest_lines(traffic(yesterday(), 40))
    assert (again.accepted, again.duplicate) == (0, 40)
    assert _one(connection, "select count(*) from signal.events") == left


def test_a_session_goes_wherever_it_was(
    connection: Connection, ingest: Ingest, fill: Fill, erased: Erase
) -> None:
    fill(yesterday())
    session = uuid.uuid4()
    ingest.ingest_lines([line(sessionId=str(session)) for _ in range(3)])
    certificate = erased(Subject.session(session))
    assert [(d.day, d.events) for d in certificate.days] == [(today(), 3)]
    assert _one(connection, "select count(*) from signal.events") == 25


def test_an_entity_goes_from_raw_days_and_from_the_rollups_of_purged_days(
    database: Database,
    connection: Connection,
    models: Models,
    fill: Fill,
    build: Build,
    erased: Erase,
) -> None:
    for day in (due_day(), yesterday()):
        fill(day, 200)
        build(day)
    assert retention.purge_due_days(database, models, KEEP).purged == [due_day()]
    theirs = f"entity_type = 'journey' and entity_id = '{ENTITY}'"
    gone = _rollup(
        connection, "daily_entity_activity", f"activity_date = '{due_day()}' and {theirs}"
    )
    assert gone
    others = {
        name: _rollup(connection, name, f"activity_date = '{due_day()}'")
        for name in models
        if name != "daily_entity_activity"
    }
    neighbours = _rollup(
        connection, "daily_entity_activity", f"activity_date = '{due_day()}' and not ({theirs})"
    )

    certificate = erased(Subject.entity("journey", ENTITY))

    assert [(d.day, d.state, d.events > 0) for d in certificate.days] == [
        (due_day(), "purged", False),
        (yesterday(), "open", True),
    ]
    assert certificate.days[0].rollup_rows == len(gone)
    assert certificate.stale_days == [yesterday()]
    assert _rollup(connection, "daily_entity_activity", theirs) == []
    assert (
        _rollup(connection, "daily_entity_activity", f"activity_date = '{due_day()}'") == neighbours
    )
    assert others == {
        name: _rollup(connection, name, f"activity_date = '{due_day()}'") for name in others
    }
    assert _one(connection, "select count(*) from signal.events where entity_id = %s", ENTITY) == 0
    build(yesterday())
    assert _rollup(connection, "daily_entity_activity", theirs) == []
    assert _one(connection, "select count(*) from signal.guard_passes") == 0


def test_an_entity_goes_from_the_table_that_a_renamed_rollup_left(
    connection: Connection, models: Models, fill: Fill, build: Build, erased: Erase
) -> None:
    fill(yesterday(), 200)
    build(yesterday())
    old = replace(models["daily_entity_activity"], name="daily_former_activity")
    with connection.transaction():
        migrate_rollups(connection, Models([old]))
    connection.execute(
        "insert into signal.daily_former_activity select * from signal.daily_entity_activity"
    )
    theirs = f"entity_type = 'journey' and entity_id = '{ENTITY}'"
    present = len(_rollup(connection, "daily_entity_activity", theirs))
    others = _rollup(connection, "daily_former_activity", f"not ({theirs})")

    counted = erased(Subject.entity("journey", ENTITY), dry_run=True)
    certificate = erased(Subject.entity("journey", ENTITY))

    assert counted.days == certificate.days
    assert [day.rollup_rows for day in certificate.days] == [2 * present]
    assert _rollup(connection, "daily_former_activity") == others


def test_the_guard_still_refuses_after_an_erasure_in_the_same_transaction(
    database: Database, connection: Connection, models: Models, fill: Fill, build: Build
) -> None:
    fill(due_day(), 60)
    build(due_day())
    retention.purge_due_days(database, models, KEEP)

    def both() -> None:
        with safe_errors(), connection.transaction():
            connection.execute(
                "select * from signal.erase_entity_from_purged_days('journey', %s, %s, %s)",
                [ENTITY, uuid.uuid4(), ACTOR],
            )
            connection.execute(
                "delete from signal.daily_app_activity where activity_date = %s", [due_day()]
            )

    with pytest.raises(DatabaseError, match="is purged"):
        both()
    assert _rollup(connection, "daily_entity_activity", f"entity_id = '{ENTITY}'"), (
        "the erasure rolled back too"
    )


def test_certificate_and_audit_hold_kind_days_and_counts_only(
    connection: Connection, fill: Fill, erased: Erase
) -> None:
    fill(yesterday(), 60)
    user = _some_hash(connection, yesterday())
    certificates = [
        erased(Subject.user(user, yesterday())),
        erased(Subject.entity("journey", ENTITY)),
    ]
    rows = connection.execute(
        "select action, day, actor, details::text from signal.audit order by id"
    ).fetchall()
    assert [(row[0], row[1], row[2]) for row in rows] == [("erase", yesterday(), ACTOR)] * 2
    text = f"{rows} {[c.as_dict() for c in certificates]} {certificates}"
    for value in (user.hex(), str(user), ENTITY, "journey"):
        assert value not in text
    assert str(certificates[0].number) in text


def test_a_dry_run_counts_and_changes_nothing(
    connection: Connection, fill: Fill, erased: Erase
) -> None:
    fill(yesterday(), 60)
    user = _some_hash(connection, yesterday())
    before = connection.execute("select day, version from signal.days order by 1").fetchall()
    counted = erased(Subject.user(user, yesterday()), dry_run=True)
    assert (
        connection.execute("select day, version from signal.days order by 1").fetchall() == before
    )
    assert _one(connection, "select count(*) from signal.events") == 60
    assert _one(connection, "select count(*) from signal.audit") == 0
    assert [d.events for d in erased(Subject.user(user, yesterday())).days] == [
        d.events for d in counted.days
    ]


def test_an_unknown_subject_changes_nothing(
    connection: Connection, fill: Fill, erased: Erase
) -> None:
    fill(yesterday())
    version = _one(connection, "select version from signal.days where day = %s", yesterday())
    for subject in (Subject.user(b"\0" * 32, yesterday()), Subject.session(uuid.uuid4())):
        certificate = erased(subject)
        assert (certificate.days, certificate.proves, certificate.as_dict()["certificate"]) == (
            [],
            False,
            None,
        )
    assert (
        _one(connection, "select version from signal.days where day = %s", yesterday()) == version
    )
    assert _one(connection, "select count(*) from signal.audit") == 0


def test_an_erasure_waits_for_the_lock_of_the_day(
    database: Database, connection: Connection, fill: Fill, erased: Erase
) -> None:
    fill(yesterday())
    subject = Subject.user(_some_hash(connection, yesterday()), yesterday())
    thread = threading.Thread(target=erased, args=[subject])
    with day_lock(connection, yesterday()):
        thread.start()
        thread.join(1.0)
        assert thread.is_alive()
        assert _one(connection, "select count(*) from signal.events") == 25
    thread.join(60)
    assert (
        _one(
            connection,
            "select count(*) from signal.events where user_hash = %s",
            subject.values["user_hash"],
        )
        == 0
    )


def test_an_erasure_does_not_wait_for_ever(
    connection: Connection, fill: Fill, erased: Erase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calendar, "LOCK_PATIENCE_SECONDS", 1)
    fill(yesterday())
    subject = Subject.user(_some_hash(connection, yesterday()), yesterday())
    with (
        day_lock(connection, yesterday()),
        pytest.raises(DatabaseError, match="another session has held the lock"),
    ):
        erased(subject)
    assert _one(connection, "select count(*) from signal.events") == 25


def test_an_interruption_at_the_commit_finds_the_day_in_the_certificate(
    database: Database, connection: Connection, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C can come when PostgreSQL has committed and the client does not know it yet."""
    fill(yesterday(), 200)
    end = psycopg.Transaction.__exit__

    def end_and_interrupt(transaction: psycopg.Transaction, *error: Any) -> Any:
        ended = end(transaction, *error)
        if connection.execute("select from signal.audit").fetchone() is not None:
            signal.raise_signal(signal.SIGINT)
        return ended

    monkeypatch.setattr(psycopg.Transaction, "__exit__", end_and_interrupt)
    found: list[Certificate] = []
    with pytest.raises(KeyboardInterrupt):
        erase(database, Subject.entity("journey", ENTITY), ACTOR, on_interruption=found.append)
    (certificate,) = found
    assert [(day.day, day.events > 0) for day in certificate.days] == [(yesterday(), True)]


def test_a_day_that_is_purged_while_an_erasure_waits_is_not_called_empty(
    connection: Connection, fill: Fill, erased: Erase
) -> None:
    fill(due_day())
    subject = Subject.user(_some_hash(connection, due_day()), due_day())
    with ThreadPoolExecutor(1) as pool, day_lock(connection, due_day()):
        waiting = pool.submit(erased, subject)
        with pytest.raises(TimeoutError):
            waiting.result(1.0)
        connection.execute(
            "insert into signal.receipts (day, raw_events, keys, accepted, erased, version, bytes,"
            " rollups) values (%s, 25, 25, 25, 0, 1, 0, '{}')",
            [due_day()],
        )
        connection.execute("update signal.days set state = 'purged' where day = %s", [due_day()])
        connection.execute("select signal.drop_partition(%s)", [due_day()])
    with pytest.raises(
        NothingKeptError, match=rf"^{due_day()} is purged: its 25 raw event\(s\) were deleted"
    ):
        waiting.result(60)


def test_a_day_whose_events_are_erased_is_still_purged_with_its_keys(
    database: Database,
    connection: Connection,
    models: Models,
    fill: Fill,
    build: Build,
    erased: Erase,
) -> None:
    fill(due_day(), 60)
    user = _some_hash(connection, due_day())
    events = sum(day.events for day in erased(Subject.user(user, due_day())).days)
    build(due_day())
    assert retention.purge_due_days(database, models, KEEP).purged == [due_day()]
    receipt = connection.execute(
        "select raw_events, keys, accepted, erased from signal.receipts"
    ).fetchone()
    assert receipt == (60 - events, 60, 60, events)
    assert _one(connection, "select count(*) from signal.event_keys") == 0
