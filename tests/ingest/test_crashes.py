"""Ingest by several processes, by killed ones, and over the death of PostgreSQL."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from conftest import SECRET, START_DATE
from support.commands import error_of, last_json, run_command, start_command
from support.days import days_ago
from support.oracle import Oracle
from support.stored import count, in_order, stored_books, stored_events
from support.traffic import line, traffic
from support.waits import PATIENCE_SECONDS

from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.embedded import start_embedded
from signal_pipeline.settings import Settings

DAY = days_ago(3)
NOON = datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC)


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
    give_up = time.monotonic() + PATIENCE_SECONDS
    while count(connection, "select count(*) from signal.events") <= more_than:
        assert running(), "the process ended before it could be killed"
        assert time.monotonic() < give_up
        time.sleep(0.01)


def _kill_server(folder: Path) -> None:
    leader = psutil.Process(int((folder / "postmaster.pid").read_text().split("\n")[0]))
    for process in [leader, *leader.children(recursive=True)]:
        process.kill()
    leader.wait(10)
