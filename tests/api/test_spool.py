"""The spool: events that wait on disk are stored exactly once, or set aside and expired."""

from __future__ import annotations

import json
import os
import random
import resource
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from support.wire import counts, event

from signal_pipeline.api.spooling_ingest import SpoolingIngest
from signal_pipeline.events.event import AcceptedEvent, Drop
from signal_pipeline.ingest.event_rows import new_event_id
from signal_pipeline.ingest.pipeline import Ingest, utc_now
from signal_pipeline.ingest.spool import (
    Spool,
    SpoolError,
    SpoolInUseError,
    lock_spool,
)
from signal_pipeline.ingest.spool_batch import SpooledBatch
from signal_pipeline.ingest.spool_files import kept_files, worker_folder
from signal_pipeline.ingest.spool_folders import gather_spools
from signal_pipeline.postgres.database import Connection, Database, DatabaseError
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only


def test_spool_is_locked(api_database: Database, tmp_path: Path) -> None:
    """Two processes cannot use the same folder."""
    first = Spool(tmp_path, api_database, "00000000", 180)
    with pytest.raises(SpoolError, match="SIGNAL_SPOOL_DIR is in use"):
        Spool(tmp_path, api_database, "00000000", 180)
    first.close()
    Spool(tmp_path, api_database, "00000000", 180).close()


def test_room_is_shared(
    api_settings: Settings,
    api_database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The spools of two workers have no more room than the one of a single process."""
    taken = _event(api_settings, api_database)
    with closing(Spool(tmp_path / "one", api_database, "00000000", 180)) as spool:
        spool.append([taken])
    (file,) = (tmp_path / "one").glob("*.spool")
    monkeypatch.setattr("signal_pipeline.ingest.spool.MAX_SPOOL_BYTES", 2 * file.stat().st_size)
    with closing(Spool(tmp_path / "two", api_database, "00000000", 180, shares=2)) as spool:
        spool.append([taken])
        with pytest.raises(SpoolError, match="the spool holds"):
            spool.append([taken])


def test_files_of_further_workers(tmp_path: Path) -> None:
    """Whoever asks what waits finds them, and a server with fewer workers takes them over."""
    for number in (2, 3, 11):
        folder = worker_folder(tmp_path, number)
        folder.mkdir()
        for suffix in ("spool", "refused", "tmp"):
            (folder / f"{number:012}-{'ab' * 32}.{suffix}").write_bytes(b"x")
    assert len(kept_files(tmp_path)) == 6
    with closing_lock(worker_folder(tmp_path, 3)), pytest.raises(SpoolInUseError):
        gather_spools(tmp_path, workers=2)
    gather_spools(tmp_path, workers=2)
    assert len(kept_files(tmp_path)) == 6
    assert {path.parent for path in kept_files(tmp_path)} == {tmp_path, worker_folder(tmp_path, 2)}
    assert not list((tmp_path / "worker-11").glob("*.tmp"))


@contextmanager
def closing_lock(folder: Path) -> Iterator[None]:
    """Hold a spool as another server does."""
    lock = lock_spool(folder)
    yield
    lock.release()


def test_bad_events_are_set_aside(
    api_settings: Settings,
    api_database: Database,
    rows: Connection,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of a spooled file, only the events that PostgreSQL refuses are set aside; the log says why."""
    with closing(Ingest.from_settings(api_settings, api_database)) as ingest:
        inputs = [event(), event(appName="cms"), event(), event(appName="none"), event()]
        checked = [
            ingest.acceptance.check_line(json.dumps(fields).encode(), utc_now())
            for fields in inputs
        ]
    spool, before = Spool(tmp_path / "spool", api_database, "00000000", 180), counts(api_database)
    with closing(spool):
        spool.append(
            [
                (
                    msgspec.structs.replace(item, id=new_event_id(item.created_at))
                    if isinstance(item, AcceptedEvent)
                    else item
                )
                for item in checked
            ]
        )
        (file,) = (tmp_path / "spool").glob("*.spool")
        copy = file.read_bytes()
        rows.execute(
            "alter table signal.books add constraint no_cms check (app_name <> 'cms') not valid"
        )
        try:
            for _ in range(2):  # Twice, as after a crash before the file's removal.
                spool.drain()
                assert counts(api_database) == (before[0] + 3, before[1] + 4)
                (refused,) = (tmp_path / "spool").glob("*.refused")
                assert copy.count(b"cms") == refused.read_bytes().count(b"cms") > 0
                assert b"journeys-admin" not in refused.read_bytes()
                assert not list((tmp_path / "spool").glob("*.spool"))
                file.write_bytes(copy)
        finally:
            rows.execute("alter table signal.books drop constraint no_cms")
    reason = "CheckViolation, SQLSTATE 23514, table books, constraint no_cms"
    assert (
        f"1 of 5 events of a spooled file are kept with the suffix .refused: PostgreSQL refused a statement: {reason}"
        in caplog.messages
    )


def _event(settings: Settings, database: Database, **changes: object) -> AcceptedEvent:
    """An accepted event, as the server would spool it."""
    with closing(Ingest.from_settings(settings, database)) as ingest:
        checked = ingest.acceptance.check_line(json.dumps(event(**changes)).encode(), utc_now())
    assert isinstance(checked, AcceptedEvent)
    return msgspec.structs.replace(checked, id=new_event_id(checked.created_at))


def test_room_after_a_partial_drain(
    api_settings: Settings,
    api_database: Database,
    rows: Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A drain that a full disk stops half way still makes room for new events."""
    folder, good, cms = (
        tmp_path / "spool",
        _event(api_settings, api_database),
        _event(api_settings, api_database, appName="cms"),
    )
    with closing(Spool(folder, api_database, "00000000", 180)) as spool:
        spool.append([good])
        monkeypatch.setattr(
            "signal_pipeline.ingest.spool.MAX_SPOOL_BYTES",
            sum(p.stat().st_size for p in folder.iterdir()) * 2,
        )
        spool.append([cms])
        rows.execute(
            "create function public.full() returns trigger language plpgsql as"
            " $$begin raise exception 'full' using errcode = '53100'; end$$"
        )
        rows.execute(
            "create trigger full_disk before insert on signal.books for each row when (new.app_name"
            " = 'cms') execute function public.full()"
        )
        try:
            for _ in range(2):
                with pytest.raises(DatabaseError, match="53100"):
                    spool.drain()
            assert len(list(folder.glob("*.spool"))) == 1
            spool.append([good])
            with pytest.raises(SpoolError, match="the spool holds"):
                spool.append([good])
        finally:
            rows.execute("drop trigger full_disk on signal.books")
            rows.execute("drop function public.full()")
        spool.drain()
        assert not list(folder.glob("*.spool"))


def test_an_event_that_no_index_can_hold_is_set_aside(
    api_settings: Settings, api_database: Database, tmp_path: Path
) -> None:
    """Older servers took an entity id of any length."""
    good = _event(api_settings, api_database)
    too_long = msgspec.structs.replace(
        _event(api_settings, api_database),
        entity_type="journey",
        entity_id="".join(random.Random(1).choices("0123456789", k=20_000)),
    )
    before = counts(api_database)[0]
    with closing(Spool(tmp_path, api_database, "00000000", 180)) as spool:
        spool.append([good, too_long])
        spool.drain()
    assert counts(api_database)[0] == before + 1
    assert [path.suffix for path in kept_files(tmp_path)] == [".refused"]


def test_drops_are_logged_once(
    api_settings: Settings,
    api_database: Database,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """When they are spooled, or when PostgreSQL refuses their day."""
    now = _event(api_settings, api_database)
    late = msgspec.structs.replace(now, day=now.day - timedelta(days=9))
    bad = Drop("unknown_app", now.day, "(unknown)", now.event_type, now.event_type)
    with (
        closing(Ingest.from_settings(api_settings, api_database)) as ingest,
        closing(Spool(tmp_path, api_database, "00000000", 180)) as spool,
        api_database.connect() as connection,
    ):
        connection.execute("select signal.ensure_day(%s)", [late.day])
        connection.execute("update signal.days set state = 'purged' where day = %s", [late.day])
        spool.append([now])  # Later events are spooled behind it, because nobody drains it.
        caplog.clear()
        both = SpoolingIngest(ingest, spool, None)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(spool, "drain", lambda: None)
            both.store([bad, late, now])
        assert caplog.messages == [f"dropped 1 event(s) of {now.event_type}: unknown_app"]
        caplog.clear()
        spool.drain()
        assert caplog.messages == [f"dropped 1 event(s) of {now.event_type}: too_late"]


def test_day_of_receipt(
    api_settings: Settings, api_database: Database, rows: Connection, tmp_path: Path
) -> None:
    """A spooled event counts as received when it was answered, not when it was stored."""
    event = _event(api_settings, api_database)
    with closing(Spool(tmp_path, api_database, "00000000", 180)) as spool:
        spool.append([event, Drop("malformed", event.day, "(unknown)", "(other)")])
        at = time.time() - 3 * 86_400
        for file in tmp_path.glob("*.spool"):
            os.utime(file, (at, at))
        spool.drain()
    received = rows.execute(
        "select outcome, events from signal.intake where received_on = (to_timestamp(%s) at time"
        " zone 'UTC')::date order by 1",
        [at],
    ).fetchall()
    assert received == [("accepted", 1), ("dropped", 1)]


def test_partial_write(api_settings: Settings, api_database: Database, tmp_path: Path) -> None:
    """A file that could not be written whole is removed."""
    spool = Spool(tmp_path / "spool", api_database, "00000000", 180)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with closing(spool):
        taken = _event(api_settings, api_database)
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (16, hard)
        )  # Like a full disk: the start of the file is written.
        try:
            with pytest.raises(SpoolError, match="cannot be written"):
                spool.append([taken])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert [path.name for path in (tmp_path / "spool").iterdir()] == [".lock"]


def test_set_aside_events_expire(
    api_settings: Settings, api_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are deleted when their day is due for purging."""
    now = _event(api_settings, api_database)
    for name, days in (("due", (181, 0)), ("kept", (180, 0))):
        events = [msgspec.structs.replace(now, day=now.day - timedelta(days=n)) for n in days]
        batch = msgspec.msgpack.encode(SpooledBatch("00000000", events, []))
        (tmp_path / f"{name}.refused").write_bytes(batch)
    for name, age in (("old", 182), ("new", 1)):
        (tmp_path / f"{name}.refused").write_bytes(b"no batch")
        at = time.time() - age * 86_400
        os.utime(tmp_path / f"{name}.refused", (at, at))
    with closing(Spool(tmp_path, api_database, "00000000", 180)) as spool:
        assert sorted(path.stem for path in tmp_path.glob("*.refused")) == ["kept", "new"]
        monkeypatch.setattr(
            "signal_pipeline.ingest.spool.today_utc", lambda: now.day + timedelta(days=1)
        )
        spool.expire()
        assert [path.stem for path in tmp_path.glob("*.refused")] == ["new"]
