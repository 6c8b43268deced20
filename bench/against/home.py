"""A build's own `SIGNAL_HOME`: its embedded server, its `serve`, its commands.

The embedded server stops when its last user ends. `serve` runs from the beginning to the end, so no
command pays for starting PostgreSQL.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import psutil
import psycopg

from bench.against.builds import Build
from bench.against.comparison import Figure
from bench.measure import Cost, Stopwatch
from bench.run import run_child
from bench.server import HISTORY_DAYS, SECRET
from bench.wire import free_port, wait_for
from signal_pipeline.days.calendar import today_utc

STOP_PATIENCE = 60.0
# Nothing in a home is due for retention unless a measure says so.
RETENTION_DAYS = 3 * HISTORY_DAYS


@dataclass(frozen=True, slots=True)
class Used:
    """What a command used: wall seconds, CPU seconds (PostgreSQL's too), peak memory in MiB."""

    wall: float
    cpu: float
    peak_mib: float
    printed: Mapping[str, object]

    def each(
        self, count: int, *, wall_target: float | None = None, cpu_target: float | None = None
    ) -> dict[str, Figure]:
        """Return wall and CPU time of one of `count` pieces, with targets for their ratios."""
        return {
            "wall": Figure(self.wall / count, ratio_target=wall_target),
            "CPU": Figure(self.cpu / count, ratio_target=cpu_target),
        }


@dataclass(frozen=True, slots=True)
class Home:
    """A running home of one build. `port` is where its `serve` listens."""

    build: Build
    folder: Path
    environment: Mapping[str, str]
    port: int
    server: psutil.Process

    @property
    def url(self) -> str:
        """The URL of its database, as the superuser of the embedded server."""
        lines = self._postmaster()
        return f"postgresql://postgres@/signal?host={lines[4]}&port={lines[3]}"

    def run(self, *arguments: str, **variables: str) -> Used:
        """Run `signal-pipeline` to its end, with these variables on top of the home's own.

        Raises RuntimeError if it fails.
        """
        return self._used([self.build.command, *arguments], variables)

    def run_python(self, program: str) -> Used:
        """Run a program in a new process of the build's Python."""
        return self._used([str(self.build.python), "-c", program], {})

    def ingest(self, *files: Path) -> int:
        """Ingest files, and return how many lines they have."""
        used = self.run("ingest", *map(str, files), "--json")
        return int(str(used.printed["received"]))

    def backfill(self, first: date, last: date) -> Used:
        """Rebuild these days. Raises RuntimeError if not all of them were built."""
        used = self.run("backfill", "--from", str(first), "--to", str(last), "--json")
        built, wanted = used.printed["built"], (last - first).days + 1
        if not isinstance(built, list) or len(built) != wanted:
            raise RuntimeError(f"backfill built {built} of {wanted} days")
        return used

    def ask(self, query: str) -> int:
        """Return the number that a query of one row and one column answers; 0 for null."""
        with psycopg.connect(self.url) as connection:
            row = connection.execute(query.encode()).fetchone()
        assert row
        return int(row[0] or 0)

    def cost(self, work: Callable[[], object]) -> tuple[Cost, float]:
        """Do the work; return its cost, and the CPU seconds of `serve` and its children.

        A checkpoint comes first, so that the work does not pay for earlier writes.
        """
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("checkpoint")
        before = self._serve_seconds()
        cost = Stopwatch(int(self._postmaster()[0])).cost(work)
        return cost, self._serve_seconds() - before

    def _used(self, command: Sequence[str], variables: Mapping[str, str]) -> Used:
        ended = []
        environment = {**self.environment, **variables}
        cost, _ = self.cost(lambda: ended.append(run_child(command, environment, self.folder)))
        child = ended[0]
        return Used(child.wall, child.cpu + cost.server, child.peak_mib, child.printed)

    def _postmaster(self) -> list[str]:
        return (self.folder / "postgres" / "postmaster.pid").read_text().split("\n")

    def _serve_seconds(self) -> float:
        every = [self.server, *self.server.children(recursive=True)]
        # If `serve` started PostgreSQL, it is among the children, but it is counted apart.
        return sum(
            sum(process.cpu_times()[:2]) for process in every if "postgres" not in process.name()
        )


@contextmanager
def open_home(build: Build, folder: Path, variables: Mapping[str, str]) -> Iterator[Home]:
    """Yield a home of a build, migrated and served. It is stopped and removed afterwards.

    Raises RuntimeError if its `serve` does not answer, or if `migrate` fails.
    """
    own = Path(tempfile.mkdtemp(prefix="home-", dir=folder))
    own.chmod(0o755)  # If root runs this, the server runs as another user.
    environment = {**_inherited(), "SIGNAL_HOME": str(own), **variables}
    port = free_port()
    with (own / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [build.command, "serve", "--port", str(port)],
            env=environment,
            cwd=own,
            stdout=log,
            stderr=log,
        )
    try:
        try:
            wait_for(port, process)
        except RuntimeError as error:
            last = (own / "serve.log").read_text(errors="replace").strip().rpartition("\n")[2]
            raise RuntimeError(f"{error}: {last}") from None
        home = Home(build, own, environment, port, psutil.Process(process.pid))
        home.run("migrate")
        yield home
    finally:
        stop(process)
        shutil.rmtree(own, ignore_errors=True)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, and kill it if it does not."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _inherited() -> dict[str, str]:
    # With another tree in PYTHONPATH a build would import that tree's code.
    left_out = ("SIGNAL", "DAGSTER", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(left_out)}
    return {
        **kept,
        "SIGNAL_ENV": "development",
        "SIGNALS_SALT_SECRET": SECRET,
        "SIGNAL_START_DATE": str(today_utc() - timedelta(days=2 * HISTORY_DAYS)),
        "SIGNAL_RETENTION_DAYS": str(RETENTION_DAYS),
    }
