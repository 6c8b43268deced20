"""What Dagster itself costs: loading definitions, and the time from a commit to fresh rollups under `signal-pipeline dev`."""

from __future__ import annotations

import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from bench.retention import clicks
from bench.run import Bench, run_child
from bench.server import database_of, environment, ingest_at_end_of
from bench.table import Row, limit
from bench.traffic import YESTERDAY
from signal_pipeline.settings import Settings
from signal_pipeline.store.database import Connection

START_PATIENCE, FRESH_PATIENCE = 120.0, 120.0
_STALE = (
    "select count(*) from signal.days as d where d.version > 0 and not exists"
    " (select from signal.builds as b where b.day = d.day group by b.day having min(b.version) = d.version)"
)


def measure(bench: Bench) -> list[Row]:
    """Definitions, then freshness."""
    with bench.server.database() as settings:
        given = environment(settings)
        load = [
            run_child([sys.executable, "-c", "import signal_pipeline.definitions"], given) for _ in range(bench.repeats)
        ]
        bare = [run_child([sys.executable, "-c", "import dagster"], given) for _ in range(bench.repeats)]
        ours = statistics.median(child.cpu for child in load)
        theirs = statistics.median(child.cpu for child in bare)
        note = f"`import dagster` alone: {theirs:.2f} s CPU"
        return [limit("load the definitions in a new process", ours, "s CPU", note=note), _freshness(bench, settings)]


def _freshness(bench: Bench, settings: Settings) -> Row:
    home = bench.folder / "dev"
    port = free_port()
    given = {**environment(settings), "SIGNAL_HOME": str(home), "PYTHONWARNINGS": "ignore"}
    command = [str(Path(sys.executable).with_name("signal-pipeline")), "dev", "--port", str(port)]
    with (bench.folder / "dev.log").open("wb") as log:
        process = subprocess.Popen(command, env=given, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_for_ui(port, process)
        waits = []
        with database_of(settings).connect() as connection:
            for _ in range(bench.repeats):
                waits.append(_one_wait(settings, connection))
                time.sleep(5)
        return limit(
            "event committed → in every rollup, `signal-pipeline dev`, median",
            statistics.median(waits),
            "s",
            30,
            f"each of {len(waits)}: {', '.join(f'{wait:.1f}' for wait in waits)} s",
        )
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _one_wait(settings: Settings, connection: Connection) -> float:
    ingest = ingest_at_end_of(settings, YESTERDAY)
    assert ingest.ingest_lines(clicks()).accepted
    ingest.close()
    started = time.perf_counter()
    while time.perf_counter() - started < FRESH_PATIENCE:
        if connection.execute(_STALE).fetchone() == (0,):
            return time.perf_counter() - started
        time.sleep(0.1)
    raise RuntimeError(f"no rollup after {FRESH_PATIENCE:.0f} s: see dev.log")


def free_port() -> int:
    """A port of loopback that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait_for_ui(port: int, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + START_PATIENCE
    while time.monotonic() < give_up and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise RuntimeError("`signal-pipeline dev` does not answer: see dev.log")
