"""What is stored of events: their hashes, ids and drops, from the line to the rollup."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from support.days import days_ago
from support.stored import rollup_table, stored_books, stored_events
from support.traffic import IPHONE, line, traffic

from signal_pipeline.events import user_agents
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.duckdb_engine import DuckdbEngine
from signal_pipeline.rollups.models import Models
from signal_pipeline.rollups.postgres_engine import PostgresEngine
from signal_pipeline.settings import Settings

DAY = days_ago(3)
MIDNIGHT = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
NOON = MIDNIGHT + timedelta(hours=12)
IngestAt = Callable[[datetime], Ingest]


def hashes(connection: Connection) -> list[bytes]:
    return [event["user_hash"] for event in stored_events(connection)]


def test_same_browser_same_day_is_one_hash(ingest: Ingest, connection: Connection) -> None:
    ingest.ingest_lines(
        [line(MIDNIGHT), line(MIDNIGHT + timedelta(hours=23, minutes=59, seconds=59.999))]
    )
    assert len(hashes(connection)) == 2
    assert len(set(hashes(connection))) == 1


def test_across_midnight_the_same_browser_has_two_hashes(
    ingest: Ingest, connection: Connection
) -> None:
    ingest.ingest_lines([line(MIDNIGHT - timedelta(microseconds=1)), line(MIDNIGHT)])
    assert len(set(hashes(connection))) == 2


def test_another_address_or_browser_is_another_hash(ingest: Ingest, connection: Connection) -> None:
    ingest.ingest_lines([line(NOON), line(NOON, ip="10.0.0.2"), line(NOON, userAgent=IPHONE)])
    assert len(set(hashes(connection))) == 3


def test_a_replayed_day_gets_the_hashes_of_the_live_day(
    ingest_at: IngestAt, connection: Connection, ingest: Ingest
) -> None:
    ingest_at(NOON).ingest_lines([line()])
    ingest.ingest_lines([line(NOON + timedelta(hours=1))])
    assert len(set(hashes(connection))) == 1


def test_a_rapid_double_click_is_two_rows(ingest: Ingest, connection: Connection) -> None:
    assert ingest.ingest_lines([line(NOON), line(NOON)]).accepted == 2
    assert len(stored_events(connection)) == 2


def test_the_same_id_a_second_later_or_the_next_day_is_one_row(
    ingest_at: IngestAt, connection: Connection
) -> None:
    sent = "7b0e7a8e-6f0e-4d0c-9a3e-0d6f0c7f1c11"
    for after in (timedelta(), timedelta(seconds=1), timedelta(days=1)):
        ingest_at(NOON + after).ingest_lines(
            [line(clientEventId=sent), line(clientEventId=sent.upper())]
        )
    assert len(stored_events(connection)) == 1
    kinds = [
        (day, outcome, events)
        for (day, _, _, outcome, _), events in stored_books(connection).items()
    ]
    assert sorted(kinds) == [
        (DAY, "accepted", 1),
        (DAY, "duplicate", 3),
        (DAY + timedelta(days=1), "duplicate", 2),
    ]


@pytest.mark.embedded_only
@pytest.mark.parametrize(
    ("changes", "reason", "level", "text"),
    [
        (
            {"userAgent": "Googlebot/2.1"},
            "bot",
            "INFO",
            "dropped 1 event(s) of journey_create_clicked: bot",
        ),
        (
            {"description": {"a": [{"eMail": "somebody@example.org"}]}},
            "description_pii",
            "WARNING",
            "dropped 1 event(s) of journey_create_clicked: description_pii",
        ),
        (
            {"eventType": "no_such_type"},
            "unknown_event_type",
            "WARNING",
            "dropped 1 event(s) of no_such_type: unknown_event_type",
        ),
        (
            {"eventType": "somebody@example.org"},
            "unknown_event_type",
            "WARNING",
            "dropped 1 event(s): unknown_event_type",
        ),
    ],
)
def test_a_drop_stores_no_row_and_logs_its_reason_without_a_value(
    ingest: Ingest,
    connection: Connection,
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, object],
    reason: str,
    level: str,
    text: str,
) -> None:
    caplog.set_level(logging.INFO, "signal_pipeline")
    counts = ingest.ingest_lines([line(NOON, **changes)])
    assert counts.as_dict() == {
        "received": 1,
        "accepted": 0,
        "duplicate": 0,
        "dropped": {reason: 1},
    }
    assert stored_events(connection) == []
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [(level, text)]


@pytest.mark.embedded_only
def test_many_kinds_of_drops_are_few_log_lines(
    ingest: Ingest, caplog: pytest.LogCaptureFixture
) -> None:
    ingest.ingest_lines([line(NOON, eventType=f"type_{n}") for n in range(50)])
    assert len(caplog.records) == 21
    assert "30 more kinds" in caplog.records[-1].getMessage()


def test_a_rebuilt_rollup_has_the_same_numbers(
    ingest: Ingest,
    database: Database,
    connection: Connection,
    models: Models,
    tmp_path: Path,
) -> None:
    ingest.ingest_lines(traffic(DAY, 200))

    def all_rows() -> list[object]:
        return [sorted(rollup_table(connection, name, DAY), key=str) for name in models]

    seen = []
    for engine in (
        DuckdbEngine(database.url, tmp_path),
        PostgresEngine(),
        DuckdbEngine(database.url, tmp_path),
    ):
        build_day(database, engine, models, DAY)
        seen.append(all_rows())
    assert seen[0] == seen[1] == seen[2]
    assert all(seen[0])


@pytest.mark.embedded_only
def test_user_agents_are_forgotten_at_midnight(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    midnight = MIDNIGHT + timedelta(days=1)
    clock = [NOON]
    forgotten: list[datetime] = []
    with closing(Ingest.from_settings(settings, database, lambda: clock[0])) as ingest:
        ingest.ingest_lines([line()])
        monkeypatch.setattr(user_agents, "clear_cache", lambda: forgotten.append(clock[0]))
        for now in (
            NOON,
            midnight - timedelta(microseconds=1),
            midnight,
            midnight + timedelta(hours=1),
        ):
            clock[0] = now
            ingest.ingest_lines([line()])
    assert forgotten == [midnight]


@pytest.mark.embedded_only
def test_an_ingest_that_is_opened_after_midnight_forgets_user_agents(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process can open one for each batch."""
    forgotten: list[int] = []

    def ingest_at(now: datetime) -> None:
        with closing(Ingest.from_settings(settings, database, lambda: now)) as ingest:
            ingest.ingest_lines([line()])

    ingest_at(NOON)
    for days in (0, 1, 1):
        monkeypatch.setattr(user_agents, "clear_cache", partial(forgotten.append, days))
        ingest_at(NOON + timedelta(days=days))
    assert forgotten == [1]
