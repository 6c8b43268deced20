"""`signal-pipeline dev` refuses a port that is taken, and a home that another one uses."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from support.commands import error_of, run_command, start_command
from support.waits import eventually

from faults.wire import free_port
from signal_pipeline.postgres.urls import sqlalchemy_url
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

# `signal-pipeline dev` with a child in Dagster's place, which says that it runs and waits.
WAITING = """
import subprocess, sys
from signal_pipeline.cli.commands import main
CHILD = "import pathlib, time; pathlib.Path('runs').touch(); time.sleep(1000)"
class InDagstersPlace(subprocess.Popen):
    def __init__(self, command, **options):
        ours = "code-server" in command
        super().__init__([sys.executable, "-c", CHILD] if ours else command, **options)
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
