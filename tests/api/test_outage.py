"""The database goes away and comes back: answers are clear, and the server recovers."""

from __future__ import annotations

import shutil
import signal
import stat
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from support.traffic import CHROME
from support.waits import until
from support.wire import (
    ADDRESS,
    CREATE,
    CREATE_MANY,
    Server,
    StartServer,
    code,
    counts,
    event,
    outcome,
)

from signal_pipeline.postgres.database import Connection, Database

pytestmark = pytest.mark.embedded_only


def test_no_database(api: Server, outage: Callable[[], object], api_database: Database) -> None:
    """The answer says to retry, and a retry succeeds once the database is back."""
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


def test_restart_between_requests(api: Server, outage: Callable[[], object]) -> None:
    """A client does not notice that the database was restarted."""
    assert outcome(api.create()) == ("accepted", None)
    with outage():  # type: ignore[attr-defined]
        pass
    assert outcome(api.create()) == ("accepted", None)


def test_hanging_database(api: Server, rows: Connection) -> None:
    """The caller gets an answer in time, and the event is stored at most once."""
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


def test_readiness_during_slow_reads(api: Server, rows: Connection, api_database: Database) -> None:
    """Slow reads do not make a process unready."""
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


def test_spool_is_drained_exactly_once(
    start: StartServer,
    outage: Callable[[], object],
    api_database: Database,
    rows: Connection,
    tmp_path: Path,
) -> None:
    """Spooled events are hashed on disk, and a file that comes back after a crash adds nothing."""
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


def test_killed_server_with_a_spool(
    start: StartServer, outage: Callable[[], object], api_database: Database, tmp_path: Path
) -> None:
    """The next server stores all that was spooled."""
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


def test_read_only_database(
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
