"""`serve --workers 2`: all answer, each limit holds for all of them, and none loses an event."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import psutil
import pytest
import redis
from filelock import FileLock
from support.commands import start_command
from support.raw_http import HEALTH, connect, is_open, read_answer
from support.wire import (
    CREATE,
    CREATE_MANY,
    Issuer,
    Server,
    StartServer,
    counts,
    event,
    outcome,
    run,
    start_server,
    until,
)

from signal_pipeline.api.identity.rate_limit import EVENTS_PER_MINUTE
from signal_pipeline.api.workers import ANSWER_SECONDS
from signal_pipeline.postgres.database import Connection, Database

pytestmark = pytest.mark.embedded_only

TWO = ("--workers", "2")


@pytest.fixture(scope="module")
def both(start: StartServer, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """The module's server, which has a spool."""
    return start(*TWO, SIGNAL_SPOOL_DIR=str(tmp_path_factory.mktemp("spool")))


def workers(server: Server) -> list[psutil.Process]:
    """The server's workers that are alive."""
    return workers_of(server.process.pid)


def workers_of(pid: int) -> list[psutil.Process]:
    """The workers that a process has started, and that are alive."""
    found = []
    for child in psutil.Process(pid).children():
        with suppress(psutil.Error):  # It has just ended.
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


def has_begun(worker: psutil.Process) -> bool:
    """Whether a new worker has loaded some of its modules; all of them take longer."""
    return sum(worker.cpu_times()[:2]) > 0.5


def connections_of(server: Server) -> dict[int, int]:
    """How many connections each worker has."""
    port = int(server.url.rpartition(":")[2])
    return {
        worker.pid: sum(
            each.status == psutil.CONN_ESTABLISHED and each.laddr.port == port
            for each in worker.net_connections()
        )
        for worker in workers(server)
    }


def apart(server: Server, query: str, variables: dict[str, object], **changes: str) -> object:
    """The body of an answer over a connection of its own, so that any worker gives it."""
    request = server.request(query, variables, **changes)
    return httpx.post(f"{server.url}/graphql", timeout=60, **request).json()


def ids(rows: Connection) -> set[str]:
    """The stored events."""
    stored = rows.execute("select client_event_id from signal.events").fetchall()
    return {str(row[0]) for row in stored}


class Load:
    """Clients that send events one after the other until the end of the context."""

    def __init__(self, server: Server) -> None:
        self.acknowledged: list[object] = []
        self._server = server
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._click, args=(n,)) for n in range(8)]
        for thread in self._threads:
            thread.start()

    def wait(self, count: int) -> None:
        """Wait until so many events more are acknowledged."""
        enough = len(self.acknowledged) + count
        until(lambda: len(self.acknowledged) >= enough)

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _click(self, number: int) -> None:
        sent = 0
        while not self._stopped.is_set():
            fields = event()
            sent += 1
            request = self._server.request(
                CREATE, {"input": fields}, uid=f"loader-{id(self)}-{number}-{sent // 40}"
            )
            try:
                answer = httpx.post(f"{self._server.url}/graphql", timeout=60, **request).json()
            except httpx.HTTPError:
                continue  # The worker was killed or the server has ended.
            if outcome(answer)[0] in ("accepted", "spooled"):
                self.acknowledged.append(fields["clientEventId"])


@pytest.mark.parametrize("number", ["0", "-1", "9", "1000", "x", "2.5", ""])
def test_a_wrong_number_is_one_line(api_environment: dict[str, str], number: str) -> None:
    done = run(api_environment, "serve", "--port", "0", "--workers", number)
    assert (done.returncode, done.stderr) == (
        2,
        f"error: --workers {number!r}: write a number from 1 to 8\n",
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"SIGNAL_RATE_LIMIT_URL": "memory://"}, "SIGNAL_RATE_LIMIT_URL: each worker would count"),
        ({"SIGNAL_MAX_CONNECTIONS_PER_PEER": "1"}, "PER_PEER must be at least 2"),
        ({"SIGNAL_HMAC_SECRET": ""}, "SIGNAL_HMAC_SECRET"),
        ({"SIGNAL_AUDIT_KEY": ""}, "SIGNAL_AUDIT_KEY"),
        (
            {"SIGNAL_DATABASE_URL": "postgresql://u:a-password@127.0.0.1:1/none"},
            "cannot reach PostgreSQL",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_a_worker_starts(
    api_environment: dict[str, str], changes: dict[str, str], said: str
) -> None:
    done = run({**api_environment, **changes}, "serve", "--port", "0", *TWO)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert said in done.stderr
    assert "a-password" not in done.stderr


def test_a_port_of_other_workers_is_taken(both: Server, api_environment: dict[str, str]) -> None:
    port = both.url.rpartition(":")[2]
    for more in ((), TWO):
        done = run(api_environment, "serve", "--port", port, *more)
        assert done.returncode == 1
        assert f"cannot listen on 127.0.0.1 port {port}" in done.stderr


def all_answer(server: Server) -> bool:
    """Whether two workers share forty connections, each of which gets an answer."""
    with ExitStack() as opened:
        for _ in range(40):
            client = opened.enter_context(connect(server))
            client.sendall(HEALTH)
            assert read_answer(client).startswith(b"HTTP/1.1 200")
        held = connections_of(server)
    return len(held) == 2 and all(held.values())


def test_every_worker_answers(both: Server) -> None:
    assert all_answer(both)


def check_limit_of_a_person(server: Server) -> None:
    began, outcomes = time.monotonic(), list[object]()
    while len(outcomes) < 4 * EVENTS_PER_MINUTE:
        answer = apart(server, CREATE_MANY, {"input": [event() for _ in range(6)]}, uid="eager")
        outcomes += [
            (each["outcome"], each["reason"])
            for each in answer["extensions"]["signal"]["events"]  # type: ignore[index]
        ]
    accepted = outcomes.count(("accepted", None))
    seconds = time.monotonic() - began
    # Each second makes room for one event more at most.
    assert EVENTS_PER_MINUTE <= accepted <= EVENTS_PER_MINUTE + seconds + 1
    assert outcomes.count(("dropped", "rate_limited")) == len(outcomes) - accepted


def test_a_person_has_one_limit_for_all_workers(both: Server) -> None:
    check_limit_of_a_person(both)


def test_a_person_has_one_limit_in_redis(start: StartServer, redis_port: int) -> None:
    server = start(*TWO, SIGNAL_RATE_LIMIT_URL=f"redis://127.0.0.1:{redis_port}/0")
    check_limit_of_a_person(server)
    assert redis.Redis(port=redis_port).dbsize()
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        ({"SIGNAL_MAX_CONNECTIONS": "16"}, 16),
        ({"SIGNAL_MAX_CONNECTIONS_PER_PEER": "6", "SIGNAL_TRUSTED_PROXIES": "10.0.0.0/8"}, 6),
    ],
)
def test_connections_are_limited_in_all(
    start: StartServer, limits: dict[str, str], most: int
) -> None:
    server = start(*TWO, **limits)
    with ExitStack() as opened:
        clients = [opened.enter_context(connect(server)) for _ in range(80)]
        for client in clients[::-1]:  # The newest first: it is there even if no older one is.
            with suppress(ConnectionError, AssertionError):
                client.sendall(HEALTH)
                read_answer(client)
        held = connections_of(server)
        assert len(held) == 2
        assert 0 < sum(held.values()) <= most
        assert sum(map(is_open, clients)) <= most
    assert server.stop() == 0


def test_each_reading_is_audited_once(both: Server, rows: Connection) -> None:
    audited = "select count(*) from signal.audit where action = 'read_events'"
    (before,) = rows.execute(audited).fetchall()
    for _ in range(12):
        assert "errors" not in apart(both, "{ events { id } }", {}, uid="boss-1")  # type: ignore[operator]
    (after,) = rows.execute(audited).fetchall()
    assert after[0] - before[0] == 12


@pytest.mark.parametrize(
    ("number", "whole_group"),
    [(signal.SIGTERM, False), (signal.SIGTERM, True), (signal.SIGINT, True), (signal.SIGHUP, True)],
)
def test_a_stop_under_load_loses_nothing(
    start: StartServer, rows: Connection, number: signal.Signals, whole_group: bool
) -> None:
    """A terminal and systemd signal every process, `kill` only the first."""
    server = start(*TWO)
    everybody = psutil.Process(server.process.pid).children(recursive=True)
    with Load(server) as load:
        load.wait(60)
        if whole_group:
            for worker in workers(server):
                worker.send_signal(number)
        assert server.stop(number) == 0
    assert set(load.acknowledged) <= ids(rows)
    psutil.wait_procs(everybody, timeout=30)
    assert not [process for process in everybody if process.is_running()]
    ((events, booked),) = rows.execute(
        "select (select count(*) from signal.events), (select sum(events) from signal.books where"
        " outcome = 'accepted')"
    ).fetchall()
    assert events == booked
    assert not [line for line in server.log if "Traceback" in line]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_during_the_start_is_in_order(
    api_environment: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    """Also here every process can get the signal, even one that cannot do anything yet."""
    process = start_command("serve", "--port", "0", *TWO, cwd=tmp_path, **api_environment)
    until(lambda: len(workers_of(process.pid)) == 2 and has_begun(workers_of(process.pid)[0]))
    for each in (psutil.Process(process.pid), *workers_of(process.pid)):
        each.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "Traceback" not in said


def test_workers_end_with_a_supervisor_that_fails(
    api_environment: dict[str, str], tmp_path: Path
) -> None:
    """Here nobody reads the line that it prints when all workers answer."""
    process = start_command("serve", "--port", "0", *TWO, cwd=tmp_path, **api_environment)
    assert process.stderr is not None
    process.stderr.close()
    until(lambda: len(workers_of(process.pid)) == 2)
    started = psutil.Process(process.pid).children()
    assert process.wait(60) == 1
    _, alive = psutil.wait_procs(started, timeout=60)
    assert not alive


def test_a_worker_that_dies_during_its_start_is_replaced_at_once(both: Server) -> None:
    old = set(workers(both))
    next(iter(old)).kill()
    until(lambda: len(set(workers(both)) - old) == 1)
    (new,) = set(workers(both)) - old
    until(lambda: has_begun(new))
    new.kill()
    killed = time.monotonic()
    until(lambda: set(workers(both)) - old - {new})
    # The supervisor did not wait for the answer of the worker that is gone.
    assert time.monotonic() - killed < ANSWER_SECONDS / 2
    until(lambda: all_answer(both))


def test_a_killed_worker_is_replaced(both: Server, rows: Connection) -> None:
    with Load(both) as load:
        load.wait(30)
        killed, other = workers(both)
        killed.kill()
        load.wait(60)
    until(lambda: len(workers(both)) == 2)
    until(lambda: all_answer(both))  # Also the new one.
    assert other in workers(both)
    assert set(load.acknowledged) <= ids(rows)
    assert f"INFO Child process [{killed.pid}] died\n" in both.log


def test_workers_end_with_a_killed_supervisor(start: StartServer, rows: Connection) -> None:
    server = start(*TWO)
    with Load(server) as load:
        load.wait(60)
        everybody = psutil.Process(server.process.pid).children(recursive=True)
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
        _, alive = psutil.wait_procs(everybody, timeout=60)
        assert not alive
    assert set(load.acknowledged) <= ids(rows)


def spooled(folder: Path) -> list[Path]:
    """The files that wait in the folders of all workers."""
    return list(folder.rglob("*.spool"))


def fill_both_spools(server: Server, folder: Path) -> list[dict[str, object]]:
    """Send events until each worker has spooled some."""
    sent = list[dict[str, object]]()
    while {path.parent for path in spooled(folder)} != {folder, folder / "worker-2"}:
        sent.append(event())
        answer = apart(server, CREATE, {"input": sent[-1]}, uid=f"user-{len(sent)}")
        assert outcome(answer) == ("spooled", None)  # type: ignore[arg-type]
    return sent


def test_spools_are_drained_exactly_once(
    start: StartServer, outage: Callable[[], object], api_database: Database, tmp_path: Path
) -> None:
    """Also the one of a worker that was killed while PostgreSQL was away."""
    server = start(*TWO, SIGNAL_SPOOL_DIR=str(tmp_path))
    before = counts(api_database)
    with outage():  # type: ignore[attr-defined]
        sent = fill_both_spools(server, tmp_path)
        workers(server)[0].kill()
        until(lambda: any("is tried again: cannot reach PostgreSQL" in line for line in server.log))
        sent.append(event())  # The other still takes events.
        answer = apart(server, CREATE, {"input": sent[-1]}, uid="late")
        assert outcome(answer) == ("spooled", None)  # type: ignore[arg-type]
    until(lambda: not spooled(tmp_path))
    assert counts(api_database) == (before[0] + len(sent), before[1] + len(sent))
    for fields in sent:
        answer = apart(server, CREATE, {"input": fields}, uid="again")
        assert outcome(answer)[0] in ("duplicate", "dropped")  # type: ignore[arg-type]
    assert counts(api_database)[0] == before[0] + len(sent)
    assert server.stop() == 0


@pytest.mark.parametrize("fewer", [(), ("--workers", "2")])
def test_fewer_workers_store_what_more_have_left(
    start: StartServer,
    outage: Callable[[], object],
    api_database: Database,
    tmp_path: Path,
    fewer: tuple[str, ...],
) -> None:
    server = start(*TWO, SIGNAL_SPOOL_DIR=str(tmp_path))
    before = counts(api_database)
    with outage():  # type: ignore[attr-defined]
        sent = fill_both_spools(server, tmp_path)
        assert server.stop() == 0
    if fewer:  # As after four workers.
        (tmp_path / "worker-2").rename(tmp_path / "worker-4")
    again = start(*fewer, SIGNAL_SPOOL_DIR=str(tmp_path))
    until(lambda: not spooled(tmp_path))
    assert counts(api_database) == (before[0] + len(sent), before[1] + len(sent))
    assert again.stop() == 0


def test_two_servers_cannot_share_a_spool(both: Server, api_environment: dict[str, str]) -> None:
    folder = psutil.Process(both.process.pid).environ()["SIGNAL_SPOOL_DIR"]
    for more in ((), TWO):
        done = run({**api_environment, "SIGNAL_SPOOL_DIR": folder}, "serve", "--port", "0", *more)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "SIGNAL_SPOOL_DIR is in use" in done.stderr


def test_a_worker_that_cannot_start_ends_the_server(start: StartServer, tmp_path: Path) -> None:
    """Here somebody else has taken the only free spool when a worker is replaced."""
    server = start(*TWO, SIGNAL_SPOOL_DIR=str(tmp_path))
    lock = str(tmp_path / "worker-2" / ".lock")
    (holder,) = (
        each for each in workers(server) if lock in {file.path for file in each.open_files()}
    )
    holder.kill()
    with FileLock(lock, timeout=30):
        until(lambda: server.process.poll() is not None)
    assert server.process.returncode == 1
    until(lambda: server.log[-1].startswith("error: a worker could not start"))
    assert any("a worker cannot start: SIGNAL_SPOOL_DIR is in use" in each for each in server.log)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_embedded_database_ends_with_the_last_process(
    issuer: Issuer, tmp_path: Path, number: signal.Signals
) -> None:
    """In development too: generated keys, embedded PostgreSQL, two workers."""
    home = tmp_path / "home"
    home.mkdir()
    server = start_server(issuer, {"SIGNAL_HOME": str(home)}, home, *TWO)
    done = run({"SIGNAL_HOME": str(home)}, "token", "--user", "me", "--json")
    sample = json.loads(done.stdout)
    answer = httpx.post(
        f"{server.url}/graphql", headers=sample["headers"], json=sample["body"], timeout=60
    )
    assert outcome(answer.json()) == ("accepted", None)
    started = [
        process
        for process in psutil.process_iter()
        if process.pid not in (os.getpid(), server.process.pid) and uses(process, home)
    ]
    assert started
    assert server.stop(number) == (-number if number == signal.SIGKILL else 0)
    _, alive = psutil.wait_procs(started, timeout=60)
    assert not alive


def uses(process: psutil.Process, home: Path) -> bool:
    """Whether a process is the server of a home, or one of its workers."""
    try:
        return str(home) in f"{process.cmdline()} {process.environ().get('SIGNAL_HOME')}"
    except psutil.Error:
        return False
