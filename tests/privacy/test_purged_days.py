"""A purged day: nothing changes it any more, and its receipt says what it held."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import psycopg
import pytest
from conftest import Build, Fill
from support.days import due_day, yesterday
from support.stored import count
from support.traffic import line

from signal_pipeline.days.freshness import day_statuses
from signal_pipeline.days.placement import partition_bytes
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.privacy.erasure import Subject, erase
from signal_pipeline.privacy.retention import purge_due_days, purge_incomplete
from signal_pipeline.rollups.build import DayPurgedError
from signal_pipeline.rollups.models import Models

KEEP = 180
CHANGES = [
    "update signal.daily_app_activity set events = 0",
    "delete from signal.daily_app_activity",
    (
        "insert into signal.daily_app_activity select activity_date, 'new', event_type, 1, 1, 1"
        " from signal.daily_app_activity limit 1"
    ),
    "truncate signal.daily_app_activity",
    "update signal.receipts set raw_events = 0",
    "delete from signal.receipts",
    "truncate signal.receipts",
    "delete from signal.audit",
]


def test_the_open_days_can_be_read_without_the_purged_ones(
    database: Database, connection: Connection, models: Models, fill: Fill
) -> None:
    for day in (due_day(), yesterday()):
        fill(day)
    purge_incomplete(database, models, due_day(), "cannot be rebuilt", KEEP)
    both = day_statuses(connection, models.checksums)
    assert [status.day for status in both] == [due_day(), yesterday()]
    assert day_statuses(connection, models.checksums, open_only=True) == both[1:]


@pytest.mark.parametrize("statement", CHANGES)
def test_history_of_a_purged_day_cannot_be_changed_by_plain_sql(
    database: Database,
    connection: Connection,
    models: Models,
    fill: Fill,
    build: Build,
    statement: str,
) -> None:
    fill(due_day())
    build(due_day())
    purge_due_days(database, models, KEEP)
    before = connection.execute(
        "select r::text from signal.daily_app_activity as r order by 1"
    ).fetchall()
    assert before
    with pytest.raises(psycopg.errors.RaiseException):
        connection.execute(statement)  # type: ignore[arg-type]
    after = connection.execute(
        "select r::text from signal.daily_app_activity as r order by 1"
    ).fetchall()
    assert after == before


def test_a_build_of_a_purged_day_is_refused(
    database: Database,
    connection: Connection,
    models: Models,
    fill: Fill,
    build: Build,
) -> None:
    fill(due_day())
    build(due_day())
    purge_due_days(database, models, KEEP)
    before = connection.execute("select r::text from signal.builds as r order by 1").fetchall()
    with pytest.raises(DayPurgedError, match="purged, unchanged"):
        build(due_day())
    assert (
        connection.execute("select r::text from signal.builds as r order by 1").fetchall() == before
    )


def test_an_event_of_a_purged_day_is_too_late_even_by_an_old_clock(
    database: Database,
    models: Models,
    fill: Fill,
    build: Build,
    ingest_at: Callable[[datetime], Ingest],
) -> None:
    fill(due_day())
    build(due_day())
    then = datetime.fromisoformat(f"{due_day()}T12:00:00+00:00")
    late = ingest_at(then)
    late.ingest_lines([line(then)])
    build(due_day())
    purge_due_days(database, models, KEEP)
    counts = late.ingest_lines([line(then)])
    assert dict(counts.dropped) == {"too_late": 1}


def test_a_receipt_says_what_the_day_held_to_the_last_figure(
    database: Database, connection: Connection, models: Models, fill: Fill, build: Build
) -> None:
    fill(due_day(), 60)
    fill(due_day(), 7, seed=2)
    (victim,) = connection.execute(
        "select user_hash from signal.events group by 1 order by count(*) desc limit 1"
    ).fetchone()  # type: ignore[misc]
    erase(database, Subject.user(victim, due_day()), b"t" * 32)  # type: ignore[arg-type]
    build(due_day())
    (events,) = connection.execute(
        "select count(*), min(created_at), max(created_at) from signal.events"
    ).fetchall()
    counts = [
        count(connection, query, due_day())
        for query in (
            "select count(*) from signal.event_keys where day = %s",
            "select sum(events)::int from signal.books where day = %s and outcome = 'accepted'",
            "select sum(events)::int from signal.books where day = %s and outcome = 'erased'",
            "select version from signal.days where day = %s",
        )
    ]
    size = partition_bytes(connection, due_day())
    held = [(due_day(), events[0], *counts[:3], *events[1:], counts[3], size)]
    assert events[0] < counts[0] == counts[1] == 67
    assert purge_due_days(database, models, KEEP).purged == [due_day()]
    written = connection.execute(
        "select day, raw_events, keys, accepted, erased, first_event, last_event, version, bytes"
        " from signal.receipts"
    ).fetchall()
    assert written == held


def test_a_forced_receipt_of_an_empty_day_is_exact_too(
    database: Database, connection: Connection, models: Models, fill: Fill
) -> None:
    fill(due_day(), 3)
    connection.execute("delete from signal.events")
    assert purge_incomplete(database, models, due_day(), "lost", KEEP).purged == [due_day()]
    written = connection.execute(
        "select raw_events, keys, accepted, erased, first_event, last_event, incomplete, reason"
        " from signal.receipts"
    ).fetchall()
    assert written == [(0, 3, 3, 0, None, None, True, "lost")]
