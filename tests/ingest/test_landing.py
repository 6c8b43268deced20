"""The landing: each file exactly once, whatever happens in between, and none of it stays."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from conftest import SECRET
from support.commands import start_command
from support.days import days_ago
from support.stored import count, received, stored_books, stored_events
from support.traffic import line, traffic
from support.waits import PATIENCE_SECONDS

from signal_pipeline.ingest import landing
from signal_pipeline.ingest.landing import (
    LandingError,
    drain_landing,
    landed_files,
)
from signal_pipeline.ingest.pipeline import Counts, Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.settings import Settings

DAY = days_ago(3)
Land = Callable[..., Path]
Drain = Callable[[], Counts]


def test_a_file_is_ingested_and_removed(land: Land, drain: Drain, connection: Connection) -> None:
    file = land([*traffic(DAY, 30), b"torn {", b"", line(userAgent="curl/8.7.1")])
    assert drain().as_dict() == {
        "received": 32,
        "accepted": 30,
        "duplicate": 0,
        "dropped": {"bot": 1, "malformed": 1},
    }
    assert not file.exists()
    assert len(stored_events(connection)) == 30
    assert drain() == Counts()


def test_the_landing_is_the_owners_alone_while_files_wait(
    land: Land,
    settings: Settings,
    database: Database,
    ingest: Ingest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = land(traffic(DAY, 3))
    file.chmod(0o644)
    settings.landing_path.chmod(0o755)
    modes = []

    def look(lines: object) -> list[object]:
        modes.extend(stat.S_IMODE(path.stat().st_mode) for path in (settings.landing_path, file))
        return []

    monkeypatch.setattr(ingest, "_check_lines", look)
    drain_landing(database, ingest, settings.landing_path, SECRET.encode())
    assert modes == [0o700, 0o600]


def test_without_a_landing_there_is_nothing_to_do(drain: Drain, settings: Settings) -> None:
    assert landed_files(settings.landing_path) == []
    assert drain() == Counts()
    assert stat.S_IMODE(settings.landing_path.stat().st_mode) == 0o700


def test_the_same_content_under_another_name_is_the_same_file(
    land: Land, drain: Drain, connection: Connection
) -> None:
    lines = [*traffic(DAY, 5), b"torn"]
    land(lines)
    drain()
    again = land(lines, "b.ndjson")
    assert drain() == Counts()
    assert not again.exists()
    assert received(connection) == 6


@pytest.mark.embedded_only
def test_an_empty_file_is_removed(land: Land, drain: Drain) -> None:
    file = land([])
    assert drain() == Counts()
    assert not file.exists()


@pytest.mark.embedded_only
def test_noise_is_counted_around_a_good_line(land: Land, drain: Drain) -> None:
    noise = bytes(range(256)) * 20
    land([noise, *traffic(DAY, 1), b"\x00" * 100, b"x" * 50_000_000, *traffic(DAY, 1, seed=2)])
    counts = drain()
    assert counts.accepted == 2
    assert counts.dropped == {"malformed": counts.received - 2}
    assert counts.received == 2 + len([part for part in noise.split(b"\n") if part.strip()]) + 2


def test_a_failure_between_two_batches_changes_no_number(
    land: Land,
    drain: Drain,
    connection: Connection,
    ingest: Ingest,
    small_batches: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = land([*traffic(DAY, 200), b"torn", *traffic(DAY, 1)])
    store, stored = ingest.store, []

    def fail_at_the_fourth(*arguments: object) -> object:
        stored.append(1)
        if len(stored) == 4:
            raise RuntimeError("the machine went away")
        return store(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(ingest, "store", fail_at_the_fourth)
        with pytest.raises(RuntimeError, match="went away"):
            drain()
    assert file.exists()
    before = received(connection)
    assert 0 < before < 202
    rest = drain()
    assert rest.received == 202 - before
    assert received(connection) == 202
    assert (
        count(
            connection, "select sum(events)::bigint from signal.books where outcome = 'duplicate'"
        )
        == 1
    )
    assert len(stored_events(connection)) == 200
    assert not file.exists()


def test_a_crash_before_the_removal_changes_no_number(
    land: Land, drain: Drain, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = land(traffic(DAY, 10))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
        with pytest.raises(RuntimeError, match="killed"):
            drain()
    assert file.exists()
    assert drain() == Counts()
    assert not file.exists()
    assert received(connection) == 10


def test_a_file_that_grows_while_it_is_read_is_reported_and_then_ingested(
    land: Land,
    drain: Drain,
    connection: Connection,
    ingest: Ingest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = land(traffic(DAY, 10))
    store = ingest.store

    def grow(*arguments: object) -> object:
        with file.open("ab") as stream:
            stream.write(traffic(DAY, 1, seed=2)[0] + b"\n")
        return store(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(ingest, "store", grow)
        with pytest.raises(LandingError, match="changed its size while it was read"):
            drain()
    assert file.exists()
    drain()
    assert not file.exists()
    assert len(stored_events(connection)) == 11


def test_a_new_file_under_the_name_of_a_finished_one_is_not_lost(
    land: Land,
    drain: Drain,
    database: Database,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two drains read a file, and one finishes it.

    A new file gets its name before the other drain continues.
    """
    land(traffic(DAY, 5))
    digest = landing._content_hmac

    def meanwhile(*arguments: object) -> object:
        found = digest(*arguments)  # type: ignore[arg-type]
        monkeypatch.setattr(landing, "_content_hmac", digest)
        with closing(Ingest.from_settings(settings, database)) as other:
            drain_landing(database, other, settings.landing_path, SECRET.encode())
        land(traffic(DAY, 7, seed=2))
        return found

    monkeypatch.setattr(landing, "_content_hmac", meanwhile)
    assert drain() == Counts()
    assert drain().accepted == 7


def test_nothing_that_names_a_file_or_a_person_stays(
    land: Land, drain: Drain, connection: Connection
) -> None:
    land([line(ip="203.0.113.77")], "from-anna.ndjson")
    drain()
    rows = connection.execute("select landed_files::text from signal.landed_files").fetchall()
    assert len(rows) == 1
    assert "anna" not in str(rows)
    assert b"203.0.113.77" not in str(rows).encode()


@pytest.fixture
def killed_at_half(
    environment: Settings, land: Land, connection: Connection, tmp_path: Path
) -> Callable[[], int]:
    """Kills a process that drains the landing once some of its events are stored.

    Returns how many are stored.
    """
    program = (
        "from signal_pipeline.ingest import pipeline as i; i.BATCH_BYTES = 20_000\n"
        "from signal_pipeline.ingest.landing import drain_landing\n"
        "from signal_pipeline.keys import ingest_secret\n"
        "from signal_pipeline.settings import load_settings\n"
        "from signal_pipeline.postgres.database import open_database\n"
        "s = load_settings(); d = open_database(s)\n"
        "drain_landing(d, i.Ingest.from_settings(s, d), s.landing_path, ingest_secret(s))\n"
    )

    def kill() -> int:
        process = start_command(cwd=tmp_path, program=program)
        try:
            give_up = time.monotonic() + PATIENCE_SECONDS
            while not received(connection):
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < give_up
                time.sleep(0.01)
        finally:
            process.kill()
            process.communicate()
        return received(connection)

    return kill


def test_a_killed_drain_goes_on_where_it_stopped(
    land: Land, drain: Drain, connection: Connection, killed_at_half: Callable[[], int]
) -> None:
    lines = [text for seed in range(20) for text in (*traffic(DAY, 1_000, seed), b"torn")]
    file = land(lines)
    before = killed_at_half()
    assert before < len(lines), "the process was faster than its killer: give it more lines"
    assert file.exists()
    rest = Counts()
    while file.exists():  # The file is held until the server notices that the process is gone.
        rest.merge(drain())
    assert 0 < rest.received <= len(lines) - before
    assert received(connection) == len(lines)
    assert len(stored_events(connection)) == 20_000
    assert "duplicate" not in {outcome for _, _, _, outcome, _ in stored_books(connection)}
