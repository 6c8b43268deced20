"""How fresh rollups are with `signal-pipeline dev` and its defaults, measured end to end.

- `python -m bench.freshness samples`: one event at a time, committed by another process. It
  measures the seconds until the event is in every rollup.
- `python -m bench.freshness idle`: ten minutes without events. It counts the runs.
- `python -m bench.freshness steady`: 100 events/s for ten minutes, on a large today. It counts the
  runs, and measures how late they are.

It prints one JSON object. Each measurement starts an empty `SIGNAL_HOME` of its own below the
temporary folder, reads none of your settings, and removes nothing of yours.
"""

from __future__ import annotations

import atexit
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import psycopg

from bench.server import forget_settings, plain_environment
from signal_pipeline.days.calendar import today_utc
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database, open_database
from signal_pipeline.postgres.urls import with_database
from signal_pipeline.rollups.models import load_models
from signal_pipeline.schema.migrate import migrate
from signal_pipeline.settings import Settings

SAMPLES = 20
MINUTES = 10
RATE = 100
LARGE_TODAY = 1_000_000
COMMAND = [sys.executable, "-c", "from signal_pipeline.cli import main; main()"]


class Bench:
    """A running `signal-pipeline dev` on an embedded database, and this process beside it.

    Both forget the user's settings.
    """

    def __init__(self, home: Path) -> None:
        forget_settings()
        self.home = home
        self.settings = Settings(home=home)
        self.database: Database = open_database(self.settings)
        migrate(self.database, self.settings, load_models())
        self.connection: Connection = self.database.connect()

    @contextmanager
    def dev(self) -> Iterator[None]:
        """Run Dagster's UI and daemon until the context ends."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        env = {**plain_environment(), "SIGNAL_HOME": str(self.home)}
        log = (self.home / "dev.log").open("wb")
        process = subprocess.Popen(
            [*COMMAND, "dev", "--port", str(port)], env=env, cwd=self.home, stdout=log, stderr=log
        )
        try:
            wait_until(lambda: answers(port), 180)
            yield
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()
            process.wait()
            log.close()

    def runs(self) -> dict[str, int]:
        """Return how many runs of each job there were so far."""
        with psycopg.connect(self._dagster_url()) as dagster:
            return dict(
                dagster.execute("select pipeline_name, count(*) from runs group by 1").fetchall()
            )

    def storage(self) -> dict[str, int]:
        """Return the size of Dagster's storage."""
        with psycopg.connect(self._dagster_url()) as dagster:
            row = dagster.execute(
                "select pg_database_size(current_database()), (select count(*) from event_logs),"
                " (select count(*) from job_ticks), (select count(*) from snapshots)"
            ).fetchone()
        assert row
        return dict(zip(("bytes", "events", "ticks", "snapshots"), row, strict=True))

    def _dagster_url(self) -> str:
        return with_database(self.database.url, "signal_dagster")

    def behind(self) -> int:
        """Return by how many versions today's slowest rollup is behind.

        If a rollup was never built, the result is today's version.
        """
        row = self.connection.execute(
            "select d.version - case when count(b.*) = %s then min(b.version) else 0 end from"
            " signal.days as d left join signal.builds as b using (day) where d.day = %s group by"
            " d.version",
            [len(load_models()), today_utc()],
        ).fetchone()
        return int(row[0]) if row else 0


def samples(count: int = SAMPLES, seed: int = 1) -> dict[str, object]:
    """Measure the seconds from the commit of one event to its presence in every rollup.

    This is done for `count` events, at random moments of a tick.
    """
    taken: list[float] = []
    storage: dict[str, int] = {}
    random = Random(seed)  # noqa: S311 - moments, not secrets
    with (
        _bench() as bench,
        bench.dev(),
        closing(Ingest.from_settings(bench.settings, bench.database)) as ingest,
    ):
        for number in range(count + 1):
            assert ingest.ingest_lines([_line()]).accepted == 1
            committed = time.perf_counter()
            wait_until(lambda: bench.behind() == 0, 300)
            if number == 0:  # The first event also waits for the code location to load.
                storage = bench.storage()
            else:
                taken.append(time.perf_counter() - committed)
                print(f"{number}: {taken[-1]:.1f} s", file=sys.stderr, flush=True)
            time.sleep(random.uniform(1, 15))
        runs, grown = bench.runs(), bench.storage()
    quantiles = statistics.quantiles(taken, n=20, method="inclusive")
    return {
        "samples": count,
        "seconds": sorted(round(each, 1) for each in taken),
        "median": round(statistics.median(taken), 1),
        "p95": round(quantiles[-1], 1),
        "worst": round(max(taken), 1),
        "runs": runs,
        "storage": {name: grown[name] - storage[name] for name in storage},
    }


def idle(minutes: float = MINUTES) -> dict[str, object]:
    """Count the runs that start while nothing happens."""
    with _bench() as bench, bench.dev():
        with closing(Ingest.from_settings(bench.settings, bench.database)) as ingest:
            ingest.ingest_lines([_line()])
        wait_until(lambda: bench.behind() == 0, 300)
        time.sleep(10)
        before, storage = bench.runs(), bench.storage()
        time.sleep(minutes * 60)
        after, grown = bench.runs(), bench.storage()
    return {
        "minutes": minutes,
        "runs": sum(after.values()) - sum(before.values()),
        "storage": {name: grown[name] - storage[name] for name in storage},
    }


def steady(
    minutes: float = MINUTES, rate: int = RATE, large: int = LARGE_TODAY
) -> dict[str, object]:
    """Count the runs while `rate` events a second arrive on a today that holds `large` events."""
    with _bench() as bench:
        _fill_today(bench, large)
        with bench.dev(), closing(Ingest.from_settings(bench.settings, bench.database)) as ingest:
            wait_until(lambda: bench.behind() == 0, 300)
            before, storage = bench.runs(), bench.storage()
            started = time.perf_counter()
            stalest = 0.0
            while (now := time.perf_counter() - started) < minutes * 60:
                ingest.ingest_lines([_line() for _ in range(rate)])
                age = bench.connection.execute(
                    "select extract(epoch from clock_timestamp() - max(built_at)) from"
                    " signal.builds where day = %s",
                    [today_utc()],
                ).fetchone()
                assert age
                stalest = max(stalest, float(str(age[0])))
                time.sleep(max(0.0, 1 - (time.perf_counter() - started - now)))
            after, grown = bench.runs(), bench.storage()
        seconds = bench.connection.execute("select max(seconds) from signal.builds").fetchone()
        count = bench.connection.execute("select count(*) from signal.events").fetchone()
    assert seconds and count
    return {
        "minutes": minutes,
        "events_per_second": rate,
        "events_today": count[0],
        "build_seconds": seconds[0],
        "runs": sum(after.values()) - sum(before.values()),
        "longest_between_builds": round(stalest, 1),
        "storage": {name: grown[name] - storage[name] for name in storage},
    }


def _fill_today(bench: Bench, events: int) -> None:
    """Fill the past hours of today with events of five thousand people."""
    midnight = datetime.combine(today_utc(), datetime.min.time(), UTC)
    past = datetime.now(UTC) - midnight
    with closing(Ingest.from_settings(bench.settings, bench.database)) as ingest:
        for start in range(0, events, 10_000):
            ingest.ingest_lines(
                [
                    _line(midnight + past * ((start + n) / events), people=5_000)
                    for n in range(10_000)
                ]
            )


@contextmanager
def _bench() -> Iterator[Bench]:
    folder = Path(tempfile.mkdtemp(prefix="signal-freshness-"))
    folder.chmod(0o755)  # If root runs this, the server runs as another user.
    # Registered before the server starts, so that the folder is removed after the server stops.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    bench = Bench(folder)
    with closing(bench.connection):
        yield bench


def _line(at: datetime | None = None, people: int = 200) -> bytes:
    event = uuid.uuid4()
    person = event.int % people
    return json.dumps(
        {
            "eventType": "journey_create_clicked",
            "appName": "journeys-admin",
            "route": "/journeys",
            "clientEventId": str(event),
            "createdAt": (at or datetime.now(UTC)).isoformat(),
            "sessionId": str(uuid.UUID(int=person + 1)),
            "ip": f"10.0.{person // 250}.{person % 250}",
            "userAgent": (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"
                " Chrome/150.0.0.0 Safari/537.36"
            ),
        }
    ).encode()


def answers(port: int) -> bool:
    """Return whether Dagster's UI answers on this port."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def wait_until(question: Callable[[], object], seconds: float) -> None:
    """Ask until the answer is true. Raises TimeoutError."""
    give_up = time.monotonic() + seconds
    while not question():
        if time.monotonic() > give_up:
            raise TimeoutError(f"nothing happened for {seconds:.0f} s")
        time.sleep(0.1)


if __name__ == "__main__":
    what: dict[str, Callable[[], dict[str, object]]] = {
        "samples": samples,
        "idle": idle,
        "steady": steady,
    }
    print(json.dumps(what[sys.argv[1]]()))
