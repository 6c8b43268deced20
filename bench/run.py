"""What every measurement is given: the server, the scale, how often to repeat."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Cost, median
from bench.server import Server


@dataclass(frozen=True, slots=True)
class Bench:
    """One run of the measurements. `events` is the scale: that of the ingested file; all other sizes follow from it."""

    server: Server
    folder: Path
    events: int
    repeats: int

    def median(self, work: Callable[[], object], prepare: Callable[[], object] = lambda: None) -> Cost:
        """The median of some repetitions; `prepare` is not measured."""
        costs = []
        for _ in range(self.repeats):
            prepare()
            self.server.checkpoint()
            costs.append(self.server.watch.cost(work))
        return median(costs)


@dataclass(frozen=True, slots=True)
class Child:
    """What became of a child process: wall and CPU seconds, peak memory in MiB, and the JSON object it printed last."""

    wall: float
    cpu: float
    peak_mib: float
    printed: Mapping[str, object]


def run_command(arguments: Sequence[str], environment: Mapping[str, str], cwd: Path | None = None) -> Child:
    """Run `signal-pipeline` with these arguments to its end; raises RuntimeError with its last lines if it fails."""
    command = [str(Path(sys.executable).with_name("signal-pipeline")), *arguments]
    return run_child(command, environment, cwd)


def run_child(command: Sequence[str], environment: Mapping[str, str], cwd: Path | None = None) -> Child:
    """Run a program to its end."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command, env=dict(environment), cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    # Read first, then wait with its resources: what a short-lived command prints fits the pipe of stderr.
    assert process.stdout
    assert process.stderr
    printed = process.stdout.read()
    complaints = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[1:5]} failed: {complaints[-2000:]}")
    lines = printed.strip().splitlines()
    last = lines[-1] if lines else ""
    peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return Child(
        time.perf_counter() - started,
        usage.ru_utime + usage.ru_stime,
        peak,
        json.loads(last) if last.startswith("{") else {},
    )
