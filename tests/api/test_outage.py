"""The database goes away and comes back.

Meanwhile answers are clear, the server recovers by itself, and the spool is stored exactly once.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import msgspec
import psycopg
import pytest
from conftest import SECRET
from support.traffic import CHROME
from support.wire import ADDRESS, CREATE, CREATE_MANY, Server, code, counts, event, outcome, until

from signal_pipeline.events.event import AcceptedEvent, Drop
from signal_pipeline.ingest.event_rows import new_event_id
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.ingest.spool import Spool, SpooledBatch, SpoolError
from signal_pipeline.postgres.database import Connection, Database, DatabaseError
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

StartServer = Callable[..., Server]


@pytest.fixture
def outage(server: str, api_database: Database) -> Callable[[], object]:
    """A context in which nobody can connect to the module's database.

    All existing connections are closed.
    """
    name = psycopg.conninfo.conninfo_to_dict(api_database.url)["dbname"]

    @contextmanager
    def away() -> Iterator[None]:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"alter database {name} allow_connections false")
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name]
            )
            try:
                yield
            finally:
                connection.execute(f"alter database {name} allow_connections true")

    return away


def test_without_the_database_the_answer_is_retriable_and_a_retry_succeeds(
    api: Server, outage: Callable[[], object], api_database: Database
) -> None:
    server, fields = api, event()
    assert outcome(server.create()) == ("accepted", None)
    before = counts(api_database)
    with outage():  # type: ignore[attr-defined]
        answer = server.call(CREATE, {"input": fields})
        assert (answer.status_code, code(answer.json()), answer.json()["data"]) == (
            503,
            "SERVICE_UNAVAILABLE",
            {"eventCreate": None},
        )
        assert int(answer.headers["retry-after"]) > 0
        assert server.client.get(f"{server.url}/healthz").status_code == 200
        assert server.client.get(f"{server.url}/readyz").status_code == 503
        reading = server.call("{ events { id } }", uid="boss-1")
        assert (reading.status_code, code(reading.json())) == (503, "SERVICE_UNAVAILABLE")
    assert outcome(server.create(fields)) == ("accepted", None)
    assert counts(api_database) == (before[0] + 1, before[1] + 1)
    assert server.client.get(f"{server.url}/readyz").status_code == 200


def test_a_restart_between_two_requests_is_not_noticed(
    api: Server, outage: Callable[[], object]
) -> None:
    assert outcome(api.create()) == ("accepted", None)
    with outage():  # type: ignore[attr-defined]
        pass
    assert outcome(api.create()) == ("accepted", None)


def test_a_database_that_hangs_does_not_hold_the_caller_for_ever(
    api: Server, rows: Connection
) -> None:
    server, fields = api, event()
    assert outcome(server.create()) == ("accepted", None)
    with rows.transaction():
        rows.execute("lock table signal.days in access exclusive mode")
        answer = server.call(CREATE, {"input": fields})
        assert (answer.status_code, code(answer.json())) == (503, "SERVICE_UNAVAILABLE")
    assert outcome(server.create(fields))[0] in (
        "accepted",
        "duplicate",
    )  # It can have been stored after the answer.
    (stored,) = rows.execute(
        "select count(*) from signal.events where client_event_id = %s", [fields["clientEventId"]]
    ).fetchall()
    assert stored == (1,)


def test_slow_reads_do_not_make_a_process_unready(
    api: Server, rows: Connection, api_database: Database
) -> None:
    blocked = (
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname ="
        " current_database()"
    )
    with ThreadPoolExecutor(4) as pool, api_database.connect() as other:
        with rows.transaction():
            rows.execute("lock table signal.days in access exclusive mode")
            reads = [pool.submit(api.call, "{ events { id } }", uid="boss-1") for _ in range(4)]
            until(lambda: other.execute(blocked).fetchone() == (4,))
            assert api.client.get(f"{api.url}/readyz").status_code == 200
        assert [read.result().status_code for read in reads] == [200] * 4


def test_the_spool_keeps_events_hashed_and_drains_them_exactly_once(
    start: StartServer,
    outage: Callable[[], object],
    api_database: Database,
    rows: Connection,
    tmp_path: Path,
) -> None:
    spool = tmp_path / "spool"
    server = start(SIGNAL_SPOOL_DIR=str(spool))
    known, waiting = event(), [event(sessionId=str(uuid.uuid4())) for _ in range(3)]
    assert outcome(server.create(known)) == ("accepted", None)
    before = counts(api_database)
    rows.close()
    with outage():  # type: ignore[attr-defined]
        for fields in waiting:
            answer = server.create(fields)
            assert (outcome(answer), answer["data"], answer.get("errors")) == (
                ("spooled", None),
                {"eventCreate": None},
                None,
            )
        batch = server.call(
            CREATE_MANY, {"input": [known, waiting[0], event(appName="none")]}
        ).json()
        assert [each["outcome"] for each in batch["extensions"]["signal"]["events"]] == [
            "spooled",
            "spooled",
            "dropped",
        ]
        files = sorted(path for path in spool.iterdir() if path.suffix == ".spool")
        assert files
        assert stat.S_IMODE(spool.stat().st_mode) == 0o700
        for path in files:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            for secret in (ADDRESS, CHROME, "user-1"):
                assert secret.encode() not in path.read_bytes()
        copies = tmp_path / "copies"
        shutil.copytree(spool, copies)
    until(lambda: not list(spool.glob("*.spool")))
    assert counts(api_database) == (before[0] + 3, before[1] + 6)
    assert outcome(server.create(waiting[1])) == ("duplicate", None)

    # As after a crash between the commit and the removal, the files are there again.
    assert server.stop() == 0
    before = counts(api_database)
    for path in copies.glob("*.spool"):
        shutil.copy(path, spool)
    again = start(SIGNAL_SPOOL_DIR=str(spool))
    until(lambda: not list(spool.glob("*.spool")))
    assert counts(api_database) == before
    again.stop()


def test_a_killed_server_loses_nothing_that_it_spooled(
    start: StartServer, outage: Callable[[], object], api_database: Database, tmp_path: Path
) -> None:
    spool, fields = tmp_path / "spool", event()
    server = start(SIGNAL_SPOOL_DIR=str(spool))
    with outage():  # type: ignore[attr-defined]
        assert outcome(server.create(fields)) == ("spooled", None)
        server.stop(signal.SIGKILL)
    (spool / "000000000001-00.tmp").write_bytes(b"torn")
    (spool / f"000000000000-{'00' * 32}.spool").write_bytes(b"not a batch")
    second = start(SIGNAL_SPOOL_DIR=str(spool))
    until(lambda: not list(spool.glob("*.spool")))
    assert outcome(second.create(fields)) == ("duplicate", None)
    assert len(list(spool.glob("*.refused"))) == 1
    assert not list(spool.glob("*.tmp"))


def test_two_processes_do_not_share_a_spool(api_database: Database, tmp_path: Path) -> None:
    first = Spool(tmp_path, api_database, "00000000", 180)
    with pytest.raises(SpoolError, match="SIGNAL_SPOOL_DIR is in use"):
        Spool(tmp_path, api_database, "00000000", 180)
    first.close()
    Spool(tmp_path, api_database, "00000000", 180).close()


def test_of_a_spooled_file_only_what_is_at_fault_is_set_aside(
    api_database: Database, rows: Connection, tmp_path: Path
) -> None:
    settings = Settings(
        _env_file=None,
        database_url=api_database.url,
        env="development",
        home=tmp_path,
        salt_secret=SECRET,
    )  # type: ignore[call-arg, arg-type]
    with closing(Ingest.from_settings(settings, api_database)) as ingest:
        inputs = [event(), event(appName="cms"), event(), event(appName="none"), event()]
        checked = [ingest.check_line(json.dumps(fields).encode()) for fields in inputs]
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


def _event(settings: Settings, database: Database, **changes: object) -> AcceptedEvent:
    """An accepted event, as the server would spool it."""
    with closing(Ingest.from_settings(settings, database)) as ingest:
        checked = ingest.check_line(json.dumps(event(**changes)).encode())
    assert isinstance(checked, AcceptedEvent)
    return msgspec.structs.replace(checked, id=new_event_id(checked.created_at))


@pytest.fixture
def settings(api_database: Database, tmp_path: Path) -> Settings:
    """Settings of the module's database."""
    return Settings(
        _env_file=None,
        database_url=api_database.url,
        env="development",
        home=tmp_path,
        salt_secret=SECRET,
    )  # type: ignore[call-arg, arg-type]


def test_room_is_free_again_as_soon_as_a_file_is_stored(
    settings: Settings,
    api_database: Database,
    rows: Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A drain that a full disk stops half way still makes room for new events."""
    folder, good, cms = (
        tmp_path / "spool",
        _event(settings, api_database),
        _event(settings, api_database, appName="cms"),
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


def test_what_was_spooled_was_received_when_it_was_answered(
    settings: Settings, api_database: Database, rows: Connection, tmp_path: Path
) -> None:
    event = _event(settings, api_database)
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


def test_what_could_not_be_written_whole_leaves_nothing(
    settings: Settings, api_database: Database, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool", api_database, "00000000", 180)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with closing(spool):
        taken = _event(settings, api_database)
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (16, hard)
        )  # Like a full disk: the start of the file is written.
        try:
            with pytest.raises(SpoolError, match="cannot be written"):
                spool.append([taken])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert [path.name for path in (tmp_path / "spool").iterdir()] == [".lock"]


def test_what_was_set_aside_is_deleted_when_its_day_is_due(
    settings: Settings, api_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = _event(settings, api_database)
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


def test_a_database_that_takes_no_writes_for_now_is_as_good_as_away(
    start: StartServer, api_database: Database, rows: Connection, server: str, tmp_path: Path
) -> None:
    """A standby before its promotion, or a full disk.

    Nothing is lost, and nothing is an internal error.
    """
    name = rows.info.dbname
    with_spool, without = start(SIGNAL_SPOOL_DIR=str(tmp_path)), start()
    spooled, refused = event(), event()

    def read_only(value: str) -> None:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"alter database {name} set default_transaction_read_only = {value}")
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name]
            )

    read_only("on")
    try:
        assert outcome(with_spool.create(spooled)) == ("spooled", None)
        answer = without.call(CREATE, {"input": refused})
        assert (answer.status_code, code(answer.json())) == (503, "SERVICE_UNAVAILABLE")
        time.sleep(2.5)  # The idle thread has tried to drain meanwhile.
        assert list(tmp_path.glob("*.spool"))
        assert not list(tmp_path.glob("*.refused"))
    finally:
        read_only("off")
    until(lambda: not list(tmp_path.glob("*.spool")))
    assert outcome(with_spool.create(spooled)) == ("duplicate", None)
    assert outcome(without.create(refused)) == ("accepted", None)
