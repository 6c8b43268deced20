"""`eventCreate` of `serve --workers 2`, compared with one process, in turn."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from bench.measure import Cost, median
from bench.run import Bench
from bench.server import environment
from bench.table import Row, faster
from bench.wire import WARM_UP, ask_all, create_requests, free_port, wait_for
from signal_pipeline.settings import Settings

WORKERS = 2
# There are many, since each worker gets only a part of them, and a batch holds only what waits at
# one worker.
CONNECTIONS = 256
AT_LEAST = 8_000  # Requests per round.


def measure(bench: Bench) -> list[Row]:
    """Measure both servers on one database; each gets requests of its own in every round."""
    costs: dict[int, list[Cost]] = {1: [], WORKERS: []}
    count = max(AT_LEAST, bench.events // 250)
    with bench.server.database() as settings, ExitStack() as stack:
        servers = {number: stack.enter_context(_serve(bench, settings, number)) for number in costs}
        for number, (_, port) in servers.items():
            asyncio.run(ask_all(port, create_requests(settings, 4 * WARM_UP, f"first-{number}")))
        for turn in range(bench.repeats):
            for number, (process, port) in servers.items():
                requests = create_requests(settings, count, f"{turn}-{number}")
                costs[number].append(_cost(bench, process, port, requests))
    what = f"`eventCreate` of `serve --workers {WORKERS}`, {CONNECTIONS} connections"
    one, several = median(costs[1]), median(costs[WORKERS])
    return [faster(what, several, "one worker, in turn", one, at_least=1.5, text="event")]


@contextmanager
def _serve(bench: Bench, settings: Settings, workers: int) -> Iterator[tuple[psutil.Process, int]]:
    port = free_port()
    command = [
        str(Path(sys.executable).with_name("signal-pipeline")),
        *("serve", "--port", str(port), "--workers", str(workers)),
    ]
    with (bench.folder / "workers.log").open("ab") as log:
        process = subprocess.Popen(
            command, env=environment(settings), cwd=bench.folder, stdout=log, stderr=log
        )
    try:
        wait_for(port, process)
        yield psutil.Process(process.pid), port
    finally:
        process.terminate()
        process.wait(60)


def _cost(bench: Bench, process: psutil.Process, port: int, requests: Sequence[bytes]) -> Cost:
    """Return the cost of one request. The CPU is the workers' and PostgreSQL's."""
    before = _cpu_seconds(process)
    cost = bench.server.watch.cost(lambda: asyncio.run(ask_all(port, requests, CONNECTIONS)))
    used = _cpu_seconds(process) - before
    count = len(requests)
    return Cost(cost.wall / count, used / count, cost.server / count)


def _cpu_seconds(process: psutil.Process) -> float:
    return sum(sum(each.cpu_times()[:2]) for each in (process, *process.children(recursive=True)))
