"""The input of every measurement: the server, the scale, how often to repeat."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Cost, median
from bench.server import Server


@dataclass(frozen=True, slots=True)
class Bench:
    """One run of the measurements.

    `events` is the scale: the size of the ingested file, from which all other sizes follow.
    """

    server: Server
    folder: Path
    events: int
    repeats: int

    def median(
        self, work: Callable[[], object], prepare: Callable[[], object] = lambda: None
    ) -> Cost:
        """Return the median of some repetitions; `prepare` is not measured."""
        costs = []
        for _ in range(self.repeats):
            prepare()
            self.server.checkpoint()
            costs.append(self.server.watch.cost(work))
        return median(costs)


@dataclass(frozen=True, slots=True)
class Child:
    """The result of a child process.

    It has wall and CPU seconds, peak memory in MiB, and the JSON object that was printed last.
    """

    wall: float
    cpu: float
    peak_mib: float
    printed: Mapping[str, object]


def run_command(arguments: Sequence[str], environment: Mapping[str, str], cwd: Path) -> Child:
    """Run `signal-pipeline` with these arguments to its end.

    The command reads the `.env` of `cwd`, if there is one. If it fails, this raises RuntimeError
    with the command's last lines.
    """
    command = [str(Path(sys.executable).with_name("signal-pipeline")), *arguments]
    return run_child(command, environment, cwd)


def run_child(command: Sequence[str], environment: Mapping[str, str], cwd: Path) -> Child:
    """Run a program to its end. Raises RuntimeError with its last lines if it fails."""
    # child.py is run by its path, so this tree need not be in PYTHONPATH. With this tree there,
    # another build would import this tree's code.
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("child.py")), *command],
        env=dict(environment),
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    complaints, _, used = done.stderr.rstrip().rpartition("\n")
    if done.returncode:
        raise RuntimeError(f"{command[1:5]} failed: {complaints[-2000:]}")
    lines = done.stdout.strip().splitlines()
    last = lines[-1] if lines else ""
    return Child(**json.loads(used), printed=json.loads(last) if last.startswith("{") else {})
