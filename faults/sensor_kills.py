"""Runs that the daemon launched for a sensor are killed; afterwards everything heals by itself.

`signal-pipeline dev` runs on the world. Late events and landed files make its sensors start runs,
whose processes get SIGKILL. Nobody helps: a sensor ends the dead run, and a retry or a later tick
does its work. Then the days are compared with the oracle.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import NamedTuple

import psutil
import psycopg

from faults import actions, oracle
from faults.checks import faults
from faults.wire import free_port
from faults.world import StuckError, World, wait_for_midnight
from signal_pipeline.dagster.home import DAGSTER_DATABASE
from signal_pipeline.dagster.names import RAW_EVENTS_JOB
from signal_pipeline.postgres.database import Connection, open_database
from signal_pipeline.settings import load_settings

LINES = 5_000
# A killed run is noticed after half a minute and retried; at worst there is a back-off.
PATIENCE_SECONDS = 420.0
SECONDS_PER_KILL = 120  # A kill takes less than this, its share of the healing included.
KILLS_PER_DAY = 2
DAYS_PER_KILL = 3  # More than one, as a run can end before its kill.
LONGEST_RUN_SECONDS = 0.6
WATCH_SECONDS = 5.0
# The process of each run that is under way, as Dagster's in-process executor reports it.
RUNNING = r"""
select r.run_id, r.pipeline_name, substring(e.event from 'Executing steps in process \(pid: ([0-9]+)\)')::int
from runs as r join event_logs as e using (run_id)
where r.status = 'STARTED' and e.event like '%Executing steps in process (pid: %'
"""


class Run(NamedTuple):
    """A run under way, and its process."""

    run_id: str
    job: str
    pid: int


def kill_sensor_runs(
    world: World, days: dict[date, oracle.Day], kills: int, seed: int
) -> Counter[str]:
    """Kill that many runs. Raises StuckError if a day does not become right again."""
    done: Counter[str] = Counter()
    random = Random(f"{seed}/sensors")
    today = wait_for_midnight(kills * SECONDS_PER_KILL)
    with _daemon(world) as daemon:
        for number in range(DAYS_PER_KILL * kills):
            day = today - timedelta(days=1 + number)
            _give_work(world, days.setdefault(day, oracle.Day()), day, random)
            most = min(KILLS_PER_DAY, kills - done.total())
            done += _kill_and_heal(world, daemon, {day: days[day]}, most, random)
            if done.total() >= kills:
                return done
    raise StuckError(f"seed {seed}: only {done.total()} runs could be killed")


@contextmanager
def _daemon(world: World) -> Iterator[psutil.Process]:
    """Run Dagster's daemon as `signal-pipeline dev` does."""
    command = [
        sys.executable,
        "-c",
        "from signal_pipeline.cli import main; main()",
        "dev",
        "--port",
        str(free_port()),
    ]
    with (world.home / "dev.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=world.home, stdout=log, stderr=log)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        # The daemon can miss the signal: see `neighbours.py`.
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)
        process.kill()
        process.wait()


def _give_work(world: World, state: oracle.Day, day: date, random: Random) -> None:
    """Bring late events of a day, and a landed file of the same day."""
    late = oracle.lines_of(day, oracle.OF_COMMAND, LINES, random)
    file = world.home / f"{day}.late"
    file.write_bytes(oracle.encode(late))
    world.finish(actions.ingest_file, file, datetime.now(UTC))
    landed = oracle.lines_of(day, oracle.OF_LANDING, LINES, random)
    world.land(f"late-{day}", oracle.encode(landed))
    state.add([*late, *landed])


def _kill_and_heal(
    world: World, daemon: psutil.Process, days: Mapping[date, oracle.Day], most: int, random: Random
) -> Counter[str]:
    """Kill at most `most` of the runs that work on these days, and wait until all is well.

    All is well when the days are right and no killed run seems to be alive.
    """
    done: Counter[str] = Counter()
    killed: set[str] = set()
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        running = _watch(killed) if done.total() < most else running_runs()
        for run in running:
            if run.run_id not in killed and done.total() < most:
                time.sleep(random.uniform(0, LONGEST_RUN_SECONDS))
                killed.add(run.run_id)
                if kill_below(daemon, run.pid):
                    done["landing run" if run.job == RAW_EVENTS_JOB else "rollups run"] += 1
        with world.connect() as connection:
            found = faults(connection, days, world.home)
        found += [f"run {run.run_id} seems to run" for run in running if run.run_id in killed]
        if not found:
            return done
        if time.monotonic() > give_up:
            raise StuckError(
                f"after {dict(done)} kills, {'; '.join(found)}: see {world.home / 'dev.log'}"
            )


def _watch(known: set[str]) -> list[Run]:
    """Wait a few seconds for a run that is not `known`; return all runs that are under way.

    Runs are short, so this looks often.
    """
    until = time.monotonic() + WATCH_SECONDS
    while True:
        running = running_runs()
        if time.monotonic() > until or any(run.run_id not in known for run in running):
            return running
        time.sleep(0.02)


def kill_below(daemon: psutil.Process, pid: int) -> bool:
    """Kill a process below the daemon; False if it has ended."""
    with suppress(psutil.NoSuchProcess):
        for process in daemon.children(recursive=True):
            if process.pid == pid:
                process.kill()
                return True
    return False


def dagster_storage() -> Connection:
    """Connect to the database in which Dagster keeps its state."""
    url = open_database(load_settings()).url
    return psycopg.connect(
        psycopg.conninfo.make_conninfo(url, dbname=DAGSTER_DATABASE), autocommit=True
    )


def running_runs() -> list[Run]:
    """Return the runs that are under way, with their processes."""
    with dagster_storage() as connection:
        return [Run(*row) for row in connection.execute(RUNNING).fetchall()]
