"""`signal-pipeline dev` stops everything that it has started, and nothing else.

It does so whenever it is told to stop.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.commands import PROGRAM, environment_with, run_command, start_command
from support.dagster import asker, wait_for_ui
from support.waits import PATIENCE_SECONDS, eventually

from faults.wire import free_port
from signal_pipeline.postgres.embedded import running_url

EMBEDDED: dict[str, str | None] = {
    "SIGNAL_DATABASE_URL": None,
    "SIGNAL_DAGSTER_DATABASE_URL": None,
    "SIGNAL_ENV": None,
    "DAGSTER_HOME": None,
}
LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
CHECKS = {
    "selector": {
        "repositoryLocationName": "signal",
        "repositoryName": "__repository__",
        "jobName": "checks_job",
    },
    "runConfigData": {},
}
STATUS = "query Status($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
SENT = random.Random(20)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with an embedded database that is migrated, and that nobody uses."""
    folder = tmp_path_factory.mktemp("stop") / "home"
    folder.mkdir()
    done = run_command("migrate", cwd=folder, SIGNAL_HOME=str(folder), **EMBEDDED)
    assert done.returncode == 0, done.stderr
    yield folder
    for pid, _ in alive(folder):  # A failed test can leave them.
        os.kill(pid, signal.SIGKILL)


def alive(home: Path) -> list[tuple[int, str]]:
    """The processes that have this home in their environment, and PostgreSQL's on its data."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            ours = process.environ().get("SIGNAL_HOME") == str(home)
            if ours or process.cwd() == str(home / "postgres"):
                found.append((process.pid, " ".join(process.cmdline())))
    return found


def started(ask: Callable[..., Any]) -> Callable[[], str]:
    """Launches a run as the UI does; gives a function that asks for its status."""
    run = ask(LAUNCH, params=CHECKS)["launchRun"]
    assert run["__typename"] == "LaunchRunSuccess", run
    return lambda: str(ask(STATUS, id=run["run"]["runId"])["runOrError"]["status"])


@pytest.mark.parametrize("moment", ["before the UI is up", "launched", "starting"])
def test_nothing_is_left_when_a_run_is_just_starting(
    home: Path, tmp_path: Path, moment: str
) -> None:
    port = free_port()
    log = tmp_path / "dev.log"
    with log.open("wb") as output:
        env = environment_with({**EMBEDDED, "SIGNAL_HOME": str(home)})
        command = [*PROGRAM, "dev", "--port", str(port)]
        dev = subprocess.Popen(command, env=env, cwd=tmp_path, stdout=output, stderr=output)
    if moment == "before the UI is up":
        eventually(lambda: b"The UI will be at" in log.read_bytes(), "Dagster is started")
    else:
        ask = asker(port)
        wait_for_ui(ask, dev)
        status = started(ask)
        while moment == "starting" and status() in ("QUEUED", "NOT_STARTED"):
            time.sleep(0.05)
    time.sleep(SENT.uniform(0, 2))
    dev.send_signal(signal.SIGTERM)
    assert dev.wait(PATIENCE_SECONDS) == 0, log.read_text()
    assert alive(home) == []
    assert "Traceback" not in log.read_text().partition("stopping Dagster ...")[0]


# In Dagster's place: a process with a session of its own, and an orphan that no parent knows. Both
# use the server, and heed no signal but SIGKILL.
STUBBORN = """
import subprocess, sys
from signal_pipeline.cli.commands import main
HOLD = '''
import os, pathlib, signal, time
from signal_pipeline.postgres.embedded import start_embedded
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
start_embedded(pathlib.Path(os.environ["SERVER_HOME"]))  # Dagster gets no variable of Signal.
open(f"{os.environ['HELD']}/holds-{os.getpid()}", "w").close()
time.sleep(1000)
'''
CHILD = '''
import subprocess, sys, time
start = [sys.executable, "-c", sys.argv[1]]
subprocess.Popen(start, start_new_session=True)
subprocess.run([sys.executable, "-c", "import subprocess; subprocess.Popen(%r, start_new_session=True)" % start])
time.sleep(1000)
'''
class InDagstersPlace(subprocess.Popen):
    def __init__(self, command, **options):
        stand_in = [sys.executable, "-c", CHILD, HOLD]
        super().__init__(stand_in if "dev" in command else command, **options)
subprocess.Popen = InDagstersPlace
main()
"""
HOLD = (
    "from signal_pipeline.settings import load_settings; import sys\n"
    "from signal_pipeline.postgres.embedded import start_embedded\n"
    "print(start_embedded(load_settings().home_path), flush=True); sys.stdin.read()"
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_what_heeds_no_signal_is_killed_and_what_others_have_started_goes_on(
    home: Path, tmp_path: Path, number: int
) -> None:
    dev = start_command(
        "dev",
        "--port",
        free_port(),
        cwd=tmp_path,
        program=STUBBORN,
        SIGNAL_HOME=str(home),
        SERVER_HOME=str(home),
        HELD=str(tmp_path),
        **EMBEDDED,
    )
    eventually(lambda: len(list(tmp_path.glob("holds-*"))) == 2, "both hold the server")
    neighbour = start_command(cwd=tmp_path, program=HOLD, SIGNAL_HOME=str(home), **EMBEDDED)
    assert neighbour.stdout
    url = neighbour.stdout.readline().strip()
    dev.send_signal(number)
    assert dev.stderr
    while "stopping" not in (line := dev.stderr.readline()):
        assert line, "it ended without a word"
    for again in (signal.SIGINT, signal.SIGTERM):  # They cut nothing short.
        dev.send_signal(again)
    _, errors = dev.communicate(timeout=PATIENCE_SECONDS)
    assert (dev.returncode, errors) == (0, "")
    assert neighbour.poll() is None
    assert running_url(home) == url
    neighbour.communicate()
    assert alive(home) == []
