"""Damaged files in a spool, files of others, and a disk that refuses: the good files are stored."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from support.wire import counts, event

from signal_pipeline.events.event import AcceptedEvent, Drop
from signal_pipeline.ingest.pipeline import Ingest, utc_now
from signal_pipeline.ingest.spool import Spool, SpoolError
from signal_pipeline.ingest.spool_files import kept_files, waiting_files
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only


@pytest.fixture
def events(api_settings: Settings, api_database: Database) -> list[AcceptedEvent | Drop]:
    """Two accepted events."""
    with closing(Ingest.from_settings(api_settings, api_database)) as ingest:
        return [
            ingest.acceptance.check_line(json.dumps(event()).encode(), utc_now()) for _ in range(2)
        ]


def refuse(*_: object, **__: object) -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def not_utf8(data: bytes) -> bytes:
    return data.replace(b"/journeys", b"\xffjourneys", 1)


def no_time(data: bytes) -> bytes:
    at = data.index(b"created_at") + len("created_at") + 1
    return data[:at] + b"x" + data[at + 1 :]


def no_id(data: bytes) -> bytes:
    at = data.index(b"client_event_id") + len("client_event_id") + 2
    return data[:at] + b"x" + data[at + 1 :]


def no_text(data: bytes) -> bytes:
    return data.replace(b"00000000", b"0000\x00000", 1)


@pytest.mark.parametrize(
    ("damage", "stored"), [(not_utf8, 0), (no_time, 0), (no_id, 1), (no_text, 0)]
)
def test_a_flipped_byte_holds_up_nobody(
    events: list[AcceptedEvent | Drop],
    api_database: Database,
    tmp_path: Path,
    damage: Callable[[bytes], bytes],
    stored: int,
) -> None:
    """The events that can still be read are stored, and the file or the event is set aside."""
    before = counts(api_database)[0]
    with closing(Spool(tmp_path, api_database, "00000000", 180)) as spool:
        spool.append(events)
        (file,) = tmp_path.glob("*.spool")
        damaged = damage(file.read_bytes())
        assert len(damaged) == file.stat().st_size
        file.write_bytes(damaged)
        spool.append([])
        while spool.waiting:  # A drain of a busy machine can have time for one file only.
            spool.drain()
    assert counts(api_database)[0] == before + stored
    assert [path.stem for path in tmp_path.glob("*.refused")] == [file.stem]
    Spool(tmp_path, api_database, "00000000", 180).close()  # It looks for the files that are due.


@pytest.mark.parametrize("name", ["x", "7", "000000000001-no-digest"])
def test_a_file_of_somebody_else_is_set_aside(
    events: list[AcceptedEvent | Drop], api_database: Database, tmp_path: Path, name: str
) -> None:
    before = counts(api_database)[0]
    (tmp_path / f"{name}.spool").write_bytes(b"")
    with closing(Spool(tmp_path, api_database, "00000000", 180)) as spool:
        assert [path.name for path in tmp_path.glob("*.*") if path.stem != ".lock"] == [
            f"{name}.refused"
        ]
        (tmp_path / f"later-{name}.spool").write_bytes(b"")
        spool.append(events)
        while spool.waiting:
            spool.drain()
    assert counts(api_database)[0] == before + 2
    assert len(list(tmp_path.glob("*.refused"))) == 2


def test_a_set_aside_file_that_cannot_be_read_holds_up_no_other(
    api_database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unreadable, due = tmp_path / "a.refused", tmp_path / "b.refused"
    unreadable.symlink_to("/proc/self/mem")  # Even root cannot read this file.
    due.write_bytes(b"not a batch")
    os.utime(due, (0, 0))
    Spool(tmp_path, api_database, "00000000", 180).close()
    assert unreadable.is_symlink()
    assert not due.exists()
    assert "cannot be expired (1)" in caplog.text


def test_a_read_only_disk_refuses_an_event(
    events: list[AcceptedEvent | Drop],
    api_database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The half-written file cannot be removed either."""
    with (
        closing(Spool(tmp_path, api_database, "00000000", 180)) as spool,
        monkeypatch.context() as read_only,
    ):
        read_only.setattr(os, "fsync", refuse)
        read_only.setattr(Path, "unlink", refuse)
        with pytest.raises(SpoolError, match="cannot be written: Read-only file system"):
            spool.append(events)


def test_a_place_that_cannot_be_looked_into_is_not_taken_for_an_empty_spool(
    tmp_path: Path,
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert kept_files(tmp_path / "spool") == []
    for folder in (tmp_path / "loop", tmp_path / "loop" / "spool"):
        with pytest.raises(OSError, match="symbolic links"):
            kept_files(folder)
        with pytest.raises(OSError, match="symbolic links"):
            waiting_files(folder)


def test_a_file_that_cannot_be_read_holds_up_no_other(
    events: list[AcceptedEvent | Drop], api_database: Database, tmp_path: Path
) -> None:
    """It is stored after the next start if it can be read by then."""
    before = counts(api_database)[0]
    with closing(Spool(tmp_path, api_database, "00000000", 180)) as spool:
        spool.append(events[:1])
        (first,) = tmp_path.glob("*.spool")
        kept = first.rename(tmp_path / "kept")
        first.mkdir()  # As good as a bad sector: it cannot be read.
        spool.append(events[1:])
        spool.drain()
        assert not spool.waiting
    assert counts(api_database)[0] == before + 1
    first.rmdir()
    kept.rename(first)
    with closing(Spool(tmp_path, api_database, "00000000", 180)) as spool:
        spool.drain()
    assert counts(api_database)[0] == before + 2
    assert not kept_files(tmp_path)


def test_a_file_that_is_no_batch_and_cannot_be_renamed_holds_up_no_start(
    api_database: Database, tmp_path: Path
) -> None:
    (tmp_path / "foreign.spool").touch()
    (tmp_path / "foreign.refused").mkdir()
    with closing(Spool(tmp_path, api_database, "00000000", 180)) as spool:
        assert not spool.waiting


def test_a_folder_that_has_become_read_only_holds_up_no_event(
    events: list[AcceptedEvent | Drop],
    api_database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is stored and cannot be removed is not stored again after the next start."""
    before = counts(api_database)[0]

    with closing(Spool(tmp_path, api_database, "00000000", 180)) as spool:
        spool.append(events[:1])
        spool.append(events[1:])
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", refuse)
            spool.drain()
        assert not spool.waiting
    assert counts(api_database)[0] == before + 2
    assert len(kept_files(tmp_path)) == 2
    with closing(Spool(tmp_path, api_database, "00000000", 180)) as spool:
        spool.drain()
    assert counts(api_database)[0] == before + 2
    assert not kept_files(tmp_path)


def test_a_batch_of_which_the_refused_part_cannot_be_written_is_stored_once(
    events: list[AcceptedEvent | Drop],
    api_database: Database,
    rows: Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The file stays, and the next try stores nothing of it again, and sets aside the rest."""
    before = counts(api_database)
    bad = [msgspec.structs.replace(each, app_name="cms") for each in events[1:]]
    with closing(Spool(tmp_path, api_database, "00000000", 180)) as spool:
        spool.append([*events[:1], *bad])
        rows.execute(
            "alter table signal.books add constraint no_cms check (app_name <> 'cms') not valid"
        )
        try:
            with monkeypatch.context() as full:
                full.setattr(os, "fsync", refuse)
                with pytest.raises(SpoolError, match="cannot be written"):
                    spool.drain()
            assert [path.suffix for path in kept_files(tmp_path)] == [".spool"]
            spool.drain()
        finally:
            rows.execute("alter table signal.books drop constraint no_cms")
    assert counts(api_database) == (before[0] + 1, before[1] + 1)
    assert [path.suffix for path in kept_files(tmp_path)] == [".refused"]


def test_a_file_of_which_a_part_was_refused_is_done(
    events: list[AcceptedEvent | Drop],
    api_database: Database,
    rows: Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It cannot be removed, and after the next start PostgreSQL would take all of it."""
    bad = [msgspec.structs.replace(each, app_name="cms") for each in events[1:]]
    rows.execute(
        "alter table signal.books add constraint no_cms check (app_name <> 'cms') not valid"
    )
    try:
        with closing(Spool(tmp_path, api_database, "00000000", 180)) as spool:
            spool.append([*events[:1], *bad])
            with monkeypatch.context() as read_only:
                read_only.setattr(Path, "unlink", refuse)
                spool.drain()
    finally:
        rows.execute("alter table signal.books drop constraint no_cms")
    after = counts(api_database)
    with closing(Spool(tmp_path, api_database, "00000000", 180)) as spool:
        spool.drain()
    assert counts(api_database) == after
    assert [path.suffix for path in kept_files(tmp_path)] == [".refused"]
