"""Ingest from end to end: the scenarios of requirement 10, batches, concurrency, crashes."""

from __future__ import annotations

import gzip
import io
import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from conftest import SECRET, START_DATE
from support.commands import error_of, last_json, run_command, start_command
from support.days import days_ago
from support.oracle import Oracle
from support.stored import count, in_order, rollup_table, stored_books, stored_events
from support.traffic import IPHONE, line, traffic

from signal_pipeline.errors import SignalError
from signal_pipeline.ingest import pipeline as ingest_module
from signal_pipeline.ingest.compressed import zstd
from signal_pipeline.ingest.ndjson import FormError
from signal_pipeline.ingest.pipeline import CutShortError, Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.embedded import start_embedded
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


def test_a_stream_commits_batch_by_batch(
    ingest: Ingest, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_module, "BATCH_BYTES", 9_000)
    data = b"\n".join(traffic(DAY, 150))
    offsets: list[int] = []
    progress: list[int] = []
    counts = ingest.ingest_stream(
        io.BytesIO(data),
        progress=progress.append,
        committed=lambda _, offset: offsets.append(offset),
    )
    assert counts.accepted == 150
    assert offsets == sorted(offsets)
    assert offsets[-1] == sum(progress) == len(data)
    assert len(offsets) == len(progress) > 3


@pytest.mark.embedded_only
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd.compress])
def test_a_marked_or_compressed_stream_is_ingested_whole(
    ingest: Ingest,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
    pack: Callable[[bytes], bytes],
) -> None:
    monkeypatch.setattr(ingest_module, "BATCH_BYTES", 9_000)
    content = b"\xef\xbb\xbf" + b"\n".join(traffic(DAY, 150))
    data = pack(content)
    offsets: list[int] = []
    progress: list[int] = []
    counts = ingest.ingest_stream(
        io.BytesIO(data),
        progress=progress.append,
        committed=lambda _, offset: offsets.append(offset),
    )
    assert (counts.received, counts.accepted) == (150, 150)
    assert offsets[-1] == len(content)
    assert sum(progress) == len(data)
    rest = ingest.ingest_stream(io.BytesIO(data), start=offsets[1])
    assert (rest.accepted, rest.duplicate) == (0, rest.received)
    assert 0 < rest.received < 150


@pytest.mark.embedded_only
def test_another_form_is_refused_before_anything_is_stored(
    ingest: Ingest, connection: Connection
) -> None:
    data = b"[\n" + b",\n".join(traffic(DAY, 20)) + b"\n]\n"
    with pytest.raises(FormError, match="looks like a JSON array") as error:
        ingest.ingest_stream(io.BytesIO(data))
    assert isinstance(error.value, SignalError)
    assert stored_books(connection) == {}


@pytest.mark.embedded_only
def test_of_compressed_data_that_is_cut_short_what_can_be_read_is_stored_and_counted(
    ingest: Ingest, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_module, "BATCH_BYTES", 9_000)
    data = gzip.compress(b"".join(text + b"\n" for text in traffic(DAY, 150)))
    with pytest.raises(
        CutShortError, match="holds gzip data that is cut short: what could be read of it is stored"
    ) as error:
        ingest.ingest_stream(io.BytesIO(data[:-3_000]))
    counts = error.value.counts
    assert 0 < counts.accepted == counts.received < 150
    assert len(stored_events(connection)) == counts.accepted
    assert ingest.ingest_stream(io.BytesIO(data)).duplicate == counts.accepted
    assert len(stored_events(connection)) == 150


@pytest.mark.embedded_only
@pytest.mark.parametrize(
    ("before", "number"),
    [([], None), ([b"torn {"], 152), ([b"", b"  "], None), ([b"", b"torn {", b"x"], 153)],
)
def test_the_first_malformed_line_is_known_by_its_number(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch, before: list[bytes], number: int | None
) -> None:
    monkeypatch.setattr(ingest_module, "BATCH_BYTES", 9_000)
    lines = [b"", *traffic(DAY, 150), *before, *traffic(DAY, 150, seed=2), b"}" if number else b""]
    assert ingest.ingest_stream(io.BytesIO(b"\n".join(lines))).first_malformed == number
    noise = [b"", b"", b"torn {" if number else b"", *lines]
    assert ingest.ingest_stream(io.BytesIO(b"\n".join(noise))).first_malformed == (
        3 if number else None
    )


@pytest.mark.embedded_only
def test_lines_in_memory_may_be_marked_too(ingest: Ingest) -> None:
    assert ingest.ingest_lines(
        [b"\xef\xbb\xbf" + line(NOON), line(NOON), b"\xef\xbb\xbf"]
    ).as_dict() == {
        "received": 2,
        "accepted": 2,
        "duplicate": 0,
        "dropped": {},
    }


@pytest.mark.embedded_only
def test_user_agents_are_forgotten_at_midnight(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    midnight = MIDNIGHT + timedelta(days=1)
    clock = [NOON]
    forgotten: list[datetime] = []
    monkeypatch.setattr(ingest_module, "clear_cache", lambda: forgotten.append(clock[0]))
    with closing(Ingest.from_settings(settings, database, lambda: clock[0])) as ingest:
        for now in (
            NOON,
            midnight - timedelta(microseconds=1),
            midnight,
            midnight + timedelta(hours=1),
        ):
            clock[0] = now
            ingest.ingest_lines([line()])
    assert forgotten == [midnight]


def test_processes_that_bring_the_same_lines_in_any_order_store_each_once(
    environment: Settings, connection: Connection, tmp_path: Path
) -> None:
    lines = [
        *traffic(DAY, 2_000),
        *traffic(DAY + timedelta(days=1), 2_000),
        b"torn",
        line(NOON, appName="watch"),
    ]
    for number in range(3):
        shuffled = random.Random(number).sample(lines, len(lines))
        (tmp_path / f"{number}.ndjson").write_bytes(b"\n".join(shuffled))
    running = [
        start_command("ingest", f"{number}.ndjson", "--json", cwd=tmp_path) for number in range(3)
    ]
    found = []
    for process in running:
        stdout, stderr = process.communicate()
        assert process.returncode == 0, stderr
        found.append(last_json(stdout))
    assert {counts["received"] for counts in found} == {4_002}
    assert sum(counts["accepted"] for counts in found) == 4_000  # type: ignore[misc]
    assert sum(counts["duplicate"] for counts in found) == 8_000  # type: ignore[misc]
    oracle = Oracle(SECRET, START_DATE)
    oracle.take(lines * 3, datetime.now(UTC))
    assert stored_books(connection) == oracle.books
    assert stored_events(connection) == in_order(list(oracle.events.values()))


@pytest.mark.embedded_only
def test_a_killed_ingest_leaves_whole_batches_and_a_second_run_completes_them(
    environment: Settings, connection: Connection, tmp_path: Path
) -> None:
    lines = [text for seed in range(40) for text in traffic(DAY, 1_000, seed)]
    (tmp_path / "events.ndjson").write_bytes(b"\n".join(lines))
    process = start_command("ingest", "events.ndjson", cwd=tmp_path)
    _wait_for_events(connection, lambda: process.poll() is None)
    process.kill()
    process.communicate()
    assert 0 < count(connection, "select count(*) from signal.events") < 40_000
    again = last_json(run_command("ingest", "events.ndjson", "--json", cwd=tmp_path).stdout)
    assert again["received"] == 40_000
    assert count(connection, "select count(*) from signal.events") == 40_000
    assert count(connection, "select count(distinct client_event_id) from signal.events") == 40_000
    booked = count(
        connection, "select sum(events)::bigint from signal.books where outcome = 'accepted'"
    )
    assert booked == 40_000


def test_what_was_acknowledged_survives_the_death_of_postgresql(
    private_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`kill -9` of every process of an embedded server, while another ingest is under way."""
    monkeypatch.setenv("SIGNAL_HOME", str(private_home))
    monkeypatch.setenv("SIGNALS_SALT_SECRET", SECRET)
    monkeypatch.delenv("SIGNAL_DATABASE_URL", raising=False)
    (tmp_path / "first.ndjson").write_bytes(b"\n".join(traffic(DAY, 500)))
    rest = [text for seed in range(2, 42) for text in traffic(DAY, 1_000, seed)]
    (tmp_path / "rest.ndjson").write_bytes(b"\n".join(rest))
    url = start_embedded(private_home)
    assert run_command("migrate", cwd=tmp_path).returncode == 0
    acknowledged = last_json(run_command("ingest", "first.ndjson", "--json", cwd=tmp_path).stdout)
    assert acknowledged["accepted"] == 500

    process = start_command("ingest", "rest.ndjson", cwd=tmp_path)
    with Database(url).connect() as connection:
        _wait_for_events(connection, lambda: process.poll() is None, more_than=500)
        _kill_server(private_home / "postgres")
    _, stderr = process.communicate()
    assert process.returncode == 1
    assert "cannot reach PostgreSQL" in error_of(stderr)

    again = last_json(run_command("ingest", "first.ndjson", "--json", cwd=tmp_path).stdout)
    assert (again["accepted"], again["duplicate"]) == (0, 500)
    completed = last_json(run_command("ingest", "rest.ndjson", "--json", cwd=tmp_path).stdout)
    assert completed["received"] == 40_000
    with Database(start_embedded(private_home)).connect() as connection:
        assert count(connection, "select count(*) from signal.events") == 40_500
        booked = count(
            connection, "select sum(events)::bigint from signal.books where outcome = 'accepted'"
        )
        assert booked == 40_500


@pytest.fixture
def private_home(tmp_path: Path) -> Iterator[Path]:
    """A home whose server is stopped at the end, whoever still counts as its user."""
    yield tmp_path / "home"
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.cwd() == str(tmp_path / "home" / "postgres"):
                process.terminate()


def _wait_for_events(
    connection: Connection, running: Callable[[], bool], more_than: int = 0
) -> None:
    give_up = time.monotonic() + 60
    while count(connection, "select count(*) from signal.events") <= more_than:
        assert running(), "the process ended before it could be killed"
        assert time.monotonic() < give_up
        time.sleep(0.01)


def _kill_server(folder: Path) -> None:
    leader = psutil.Process(int((folder / "postmaster.pid").read_text().split("\n")[0]))
    for process in [leader, *leader.children(recursive=True)]:
        process.kill()
    leader.wait(10)
