"""`serve --workers 2`: workers and servers that stop or die lose no event and leave nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from filelock import FileLock
from support.commands import start_command
from support.waits import PATIENCE_SECONDS, until
from support.wire import Issuer, Server, StartServer, outcome, run, start_server
from support.workers import (
    TWO,
    Load,
    all_answer,
    has_begun,
    ids,
    workers,
    workers_of,
)

from signal_pipeline.api.workers import ANSWER_SECONDS
from signal_pipeline.postgres.database import Connection

pytestmark = pytest.mark.embedded_only


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
    psutil.wait_procs(everybody, timeout=PATIENCE_SECONDS)
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
    _, said = process.communicate(timeout=PATIENCE_SECONDS)
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
    assert process.wait(PATIENCE_SECONDS) == 1
    _, alive = psutil.wait_procs(started, timeout=PATIENCE_SECONDS)
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


def test_nobody_takes_the_port_while_all_workers_are_replaced(start: StartServer) -> None:
    """Most servers set SO_REUSEADDR, with which Linux lets them listen beside a bound socket."""
    server = start(*TWO)
    port = int(server.url.rpartition(":")[2])
    old = workers(server)
    for worker in old:
        worker.kill()
    psutil.wait_procs(old, timeout=PATIENCE_SECONDS)
    tries = 0
    while not any(map(has_begun, workers(server))):
        with pytest.raises(OSError, match="in use"):
            socket.create_server(("127.0.0.1", port)).close()
        tries += 1
    assert tries

    def serves() -> bool:
        with suppress(ConnectionRefusedError):  # No new worker listens yet.
            return all_answer(server)
        return False

    until(serves)


def test_workers_end_with_a_killed_supervisor(start: StartServer, rows: Connection) -> None:
    server = start(*TWO)
    with Load(server) as load:
        load.wait(60)
        everybody = psutil.Process(server.process.pid).children(recursive=True)
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
        _, alive = psutil.wait_procs(everybody, timeout=PATIENCE_SECONDS)
        assert not alive
    assert set(load.acknowledged) <= ids(rows)


def test_a_worker_that_cannot_start_ends_the_server(start: StartServer, tmp_path: Path) -> None:
    """Here somebody else has taken the only free spool when a worker is replaced."""
    server = start(*TWO, SIGNAL_SPOOL_DIR=str(tmp_path))
    lock = str(tmp_path / "worker-2" / ".lock")
    (holder,) = (
        each for each in workers(server) if lock in {file.path for file in each.open_files()}
    )
    holder.kill()
    with FileLock(lock, timeout=PATIENCE_SECONDS):
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
        f"{server.url}/graphql",
        headers=sample["headers"],
        json=sample["body"],
        timeout=PATIENCE_SECONDS,
    )
    assert outcome(answer.json()) == ("accepted", None)
    started = [
        process
        for process in psutil.process_iter()
        if process.pid not in (os.getpid(), server.process.pid) and uses(process, home)
    ]
    assert started
    assert server.stop(number) == (-number if number == signal.SIGKILL else 0)
    _, alive = psutil.wait_procs(started, timeout=PATIENCE_SECONDS)
    assert not alive


def uses(process: psutil.Process, home: Path) -> bool:
    """Whether a process is the server of a home, or one of its workers."""
    try:
        return str(home) in f"{process.cmdline()} {process.environ().get('SIGNAL_HOME')}"
    except psutil.Error:
        return False
