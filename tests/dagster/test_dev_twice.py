"""`dev` refuses a port that is taken, and a home or a database that another `dev` uses."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest
from support.commands import error_of, run_command, start_command
from support.waits import eventually, until

from faults.wire import free_port
from signal_pipeline.dagster.daemon_lock import DaemonLock
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.locks import LockClass
from signal_pipeline.postgres.urls import sqlalchemy_url
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

# `signal-pipeline dev` with children in Dagster's place. The code location says that it runs, and
# all of them wait.
WAITING = """
import subprocess, sys
from signal_pipeline.cli.commands import main
CHILD = '''
import pathlib, socket, sys, time
pathlib.Path("runs").touch()
listener = socket.socket(socket.AF_UNIX)
if sys.argv[1:]:
    listener.bind(sys.argv[1])
    listener.listen()
time.sleep(1000)
'''
class InDagstersPlace(subprocess.Popen):
    def __init__(self, command, **options):
        if "dagster" in command:
            address = command[command.index("-s") + 1 :][:1] if "-s" in command else []
            command = [sys.executable, "-c", CHILD, *address]
        super().__init__(command, **options)
subprocess.Popen = InDagstersPlace
main()
"""
# No database: `dev` must refuse before it needs one.
NOWHERE = {"SIGNAL_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}


def test_a_port_that_is_taken_is_refused_before_anything_is_started(
    environment: Settings, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run_command("dev", "--port", port, cwd=tmp_path, **NOWHERE)
    assert done.returncode == 1
    assert error_of(done) == f"error: port {port} is taken: choose another with --port"


def test_a_second_one_on_the_same_home_is_refused_until_the_first_has_ended(
    environment: Settings, tmp_path: Path, admin_url: str
) -> None:
    first = start_command(
        "dev",
        "--port",
        free_port(),
        cwd=tmp_path,
        program=WAITING,
        SIGNAL_DAGSTER_DATABASE_URL=sqlalchemy_url(admin_url),
    )
    try:
        running = environment.home_path / "dagster" / "runs"
        eventually(lambda: running.exists() or first.poll() is not None, "the first one runs")
        assert first.poll() is None
        second = run_command("dev", "--port", free_port(), cwd=tmp_path, **NOWHERE)
        assert second.returncode == 1
        assert "another `signal-pipeline dev` runs on" in error_of(second)
        assert str(environment.home_path) in error_of(second)
    finally:
        first.terminate()
        _, errors = first.communicate()
    assert first.returncode == 0, errors
    third = run_command("dev", "--port", free_port(), cwd=tmp_path, **NOWHERE)
    assert "cannot reach PostgreSQL" in error_of(third)


def test_a_second_one_on_the_same_database_of_dagster_is_refused_in_another_home(
    environment: Settings,
    tmp_path: Path,
    admin_url: str,
    connection: Connection,
) -> None:
    """Dagster itself would only write of two daemons to its log, and start each run twice."""
    shared = {"SIGNAL_DAGSTER_DATABASE_URL": sqlalchemy_url(admin_url)}
    homes = [tmp_path / "one", tmp_path / "two"]

    def start(home: Path) -> subprocess.Popen[str]:
        changes = {**shared, "SIGNAL_HOME": str(home)}
        process = start_command(
            "dev", "--port", free_port(), cwd=tmp_path, program=WAITING, **changes
        )
        running = home / "dagster" / "runs"
        eventually(lambda: running.exists() or process.poll() is not None, "it runs or ends")
        return process

    def holders() -> list[tuple[object, ...]]:
        return connection.execute(
            "select pid from pg_locks where classid = %s and granted", [LockClass.DAEMON]
        ).fetchall()

    first = start(homes[0])
    try:
        assert first.poll() is None
        for _ in range(2):
            second = start(homes[1])
            is_refused = second.poll() is not None
            second.terminate()
            _, errors = second.communicate()
            assert is_refused
            assert second.returncode == 1
            assert errors.splitlines()[-1].startswith("error: another `signal-pipeline dev` runs")
            assert "SIGNAL_DAGSTER_DATABASE_URL" in errors
            # When PostgreSQL was away, the lock is taken again.
            lost = holders()
            connection.execute("select pg_terminate_backend(%s)", lost[0])
            eventually(lambda lost=lost: holders() not in ([], lost), "it has the lock again")
            assert first.poll() is None
    finally:
        first.terminate()
        first.communicate()
    last = start(homes[1])
    assert last.poll() is None
    last.terminate()
    last.communicate()


def test_a_lock_that_another_has_taken_meanwhile_is_lost(
    admin_url: str, database: Database
) -> None:
    url = sqlalchemy_url(admin_url)
    lock, other = DaemonLock(url), DaemonLock(url)
    assert lock.hold()
    assert lock.hold()
    assert not other.hold()
    with database.connect() as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_locks where classid = %s",
            [LockClass.DAEMON],
        )
    until(other.hold)
    assert lock.hold(), "it has lost its session, and does not know yet to whom"
    assert not lock.hold()
    other.release()
    until(lock.hold)
    lock.release()
