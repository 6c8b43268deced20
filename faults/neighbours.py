"""Signal in a Dagster instance that others use too.

Signal ends no run that lives, and soon ends its own dead ones. There are three parts:

- `race`: Signal's own runs end while the test looks for dead runs without pause or patience.
- `live_beside`: another team has a job with a name that Signal uses too, and a script. Signal's
  sensors must let the run of this job and that of this script live.
- `_kill_ours`: meanwhile, runs that the daemon launched for Signal get SIGKILL. The test measures
  how long it takes until Signal ends these runs, and they leave their places in the pool.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from unittest.mock import patch

import dagster as dg
import psutil
import yaml

from faults import actions, launched, neighbour, oracle
from faults.checks import faults
from faults.sensor_kills import dagster_storage, kill_below, running_runs
from faults.world import FaultFoundError, StuckError, World
from signal_pipeline.dagster import liveness
from signal_pipeline.dagster.home import open_instance
from signal_pipeline.dagster.liveness import end_dead_runs
from signal_pipeline.dagster.names import RAW_EVENTS_JOB, ROLLUPS_JOB, load_names
from signal_pipeline.dagster.runs import OwnRuns
from signal_pipeline.days.calendar import day_lock, today_utc
from signal_pipeline.settings import load_settings

AT_ONCE = 4
BUSY = 1  # Processes that only compute, so that some time passes between two writes.
LOCAL_EVERY = 5  # One run in so many belongs to a command.
LINES = 300
# The end of a run is written this much later. If the run has already given back its lock, it seems
# dead meanwhile.
SLOW = """
create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.5); return new; end $$;
create trigger slow before update on runs for each row when (new.status = 'SUCCESS') execute function slow();
"""
PATIENCE_SECONDS = 300.0
ENDED_WITHIN_SECONDS = 30.0


@dataclass(slots=True)
class Figures:
    """What was tried, and after how many seconds a killed run was ended."""

    runs: Counter[str] = field(default_factory=Counter)
    looks: int = 0
    # Looks that found a run without its lock: before it took the lock, or around its end.
    unlocked: int = 0
    lived: float = 0.0
    ended_after: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        runs = ", ".join(f"{count} {kind}" for kind, count in self.runs.most_common())
        after = ", ".join(f"{seconds:.1f}" for seconds in sorted(self.ended_after))
        return (
            f"runs that ended while looked at: {runs}; {self.looks:,} looks, {self.unlocked} of"
            " them found a run without its lock, and none was ended; a neighbour's run and a"
            f" script of {self.lived:.0f} s lived; killed runs were ended, and their pool was free,"
            f" after {after} s"
        )


def neighbours(world: World, races: int, seconds: float, kills: int, seed: int) -> Figures:
    """Run all three parts.

    Raises FaultFoundError at the first run that was ended although it was not dead.
    """
    figures = Figures()
    world.finish(actions.migrate_all)
    race(world, races, figures)
    live_beside(world, seconds, kills, Random(f"{seed}/neighbours"), figures)
    return figures


def spin() -> None:
    """Compute until killed."""
    while True:
        pass


def race(world: World, runs: int, figures: Figures) -> None:
    """Let `runs` runs end, each in its own process, while the test looks for dead runs."""
    with ExitStack() as stack:
        instance = stack.enter_context(open_instance(load_settings()))
        stack.enter_context(patch.object(liveness, "LOST_SECONDS", 0.0))
        for process in [world.start(spin) for _ in range(BUSY)]:
            stack.callback(process.kill)
        stack.enter_context(_slow_ends())
        _race(world, instance, runs, figures)


@contextmanager
def _slow_ends() -> Iterator[None]:
    """Make Dagster's storage slow to write the end of a run."""
    with dagster_storage() as storage:
        storage.execute(SLOW)
        yield
        storage.execute("drop function slow cascade")


def _errors_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[str]:
    """Return what the run and its steps failed with."""
    kinds = {dg.DagsterEventType.PIPELINE_FAILURE, dg.DagsterEventType.STEP_FAILURE}
    errors = [
        getattr(entry.get_dagster_event().event_specific_data, "error", None)
        for entry in instance.all_logs(run.run_id, of_type=kinds)
    ]
    return [
        each.message.strip() for error in errors if error for each in (error, error.cause) if each
    ]


def _race(world: World, instance: dg.DagsterInstance, runs: int, figures: Figures) -> None:
    from signal_pipeline.definitions import defs

    job, today = defs().resolve_job_def(RAW_EVENTS_JOB), today_utc()
    working: list[BaseProcess] = []
    suspects: dict[str, float] = {}
    started = 0
    with world.connect() as connection:
        ours = OwnRuns.seen_by(connection, load_names())
        ours = OwnRuns(ours.names, ours.locks, launched.label("signal"))
        while started < runs or working:
            working = [process for process in working if process.is_alive()]
            if started < runs and len(working) < AT_ONCE:
                started += 1
                if started % LOCAL_EVERY:
                    run = launched.create_run(instance, job, tags={"dagster/partition": str(today)})
                    working.append(world.start(launched.execute, run.run_id))
                else:
                    working.append(world.start(actions.backfill, today, today))
            ended, suspects = end_dead_runs(instance, connection, ours, suspects, time.monotonic())
            figures.looks += 1
            figures.unlocked += bool(suspects)
            if ended:
                raise FaultFoundError(
                    f"run {ended[0]} was ended, and its process had ended it or lives"
                )
    for record in instance.get_run_records():
        run = record.dagster_run
        failures = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.PIPELINE_FAILURE)
        if run.status != dg.DagsterRunStatus.SUCCESS or failures:
            raise FaultFoundError(
                f"run {run.run_id} of {run.job_name} is {run.status.value}, {len(failures)}"
                f" failure(s): {_errors_of(instance, run)}"
            )
        figures.runs["launched" if run.remote_job_origin else "of a command"] += 1
    if figures.runs.total() != runs:
        raise FaultFoundError(f"{figures.runs.total()} of {runs} runs are there")


def live_beside(world: World, seconds: float, kills: int, random: Random, figures: Figures) -> None:
    """Run both code locations under one daemon.

    Each of the neighbour's runs takes `seconds`; ours are killed meanwhile.
    """
    starts = world.home / "neighbour.starts"
    environment = {**os.environ, "NEIGHBOUR_STARTS": str(starts), "NEIGHBOUR_SECONDS": str(seconds)}
    with open_instance(load_settings()) as instance:
        environment |= {
            name: os.environ[name] for name in ("DAGSTER_HOME", "SIGNAL_DAGSTER_DATABASE_URL")
        }
        with (
            _started(world, environment, neighbour.__file__),
            _daemon(world, environment) as daemon,
        ):
            days = dict(_kill_ours(world, instance, daemon, random, figures) for _ in range(kills))
            _until(
                "the neighbour's runs end",
                lambda: len(_theirs(instance, dg.DagsterRunStatus.SUCCESS)) == 2,
            )
            _until("every killed day is right", lambda: not _wrong(world, days))
        broken = [
            run.run_id for run in _theirs(instance) if run.status != dg.DagsterRunStatus.SUCCESS
        ]
        if broken or sorted(starts.read_text().split()) != ["job", "script"]:
            raise FaultFoundError(
                f"of the neighbour's runs {broken} did not live; starts:"
                f" {starts.read_text().split()}"
            )
    figures.lived = seconds


@contextmanager
def _started(world: World, environment: dict[str, str], *command: str) -> Iterator[psutil.Process]:
    with (world.home / "neighbours.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *command], env=environment, cwd=world.home, stdout=log, stderr=log
        )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        # Dagster turns the signal into an exception wherever Python is at that moment. If that is a
        # callback of the garbage collector, the exception is lost, and the daemon goes on.
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)
        process.kill()
        process.wait()


@contextmanager
def _daemon(world: World, environment: dict[str, str]) -> Iterator[psutil.Process]:
    ours = {"module_name": "signal_pipeline.definitions", "location_name": "signal"}
    theirs = {"relative_path": neighbour.__file__, "location_name": "neighbour"}
    workspace = Path(world.home, "workspace.yaml")
    workspace.write_text(
        yaml.safe_dump({"load_from": [{"python_module": ours}, {"python_file": theirs}]})
    )
    with _started(
        world, environment, "-m", "dagster._daemon", "run", "-w", str(workspace)
    ) as daemon:
        yield daemon


def _theirs(instance: dg.DagsterInstance, *statuses: dg.DagsterRunStatus) -> list[dg.DagsterRun]:
    """Return the runs of the neighbour's job and script."""
    runs = instance.get_runs(dg.RunsFilter(statuses=list(statuses)))
    ours = load_names()
    return [
        run
        for run in runs
        if (
            run.remote_job_origin
            and launched.label("neighbour") == run.remote_job_origin.repository_origin.get_label()
        )
        or (run.remote_job_origin is None and run.job_name not in ours.jobs)
    ]


def _kill_ours(
    world: World,
    instance: dg.DagsterInstance,
    daemon: psutil.Process,
    random: Random,
    figures: Figures,
) -> tuple[date, oracle.Day]:
    """Give a day late events, and kill the run that comes to build the day; return the day.

    `figures` gets the seconds until the killed run was ended and out of its pool. Raises
    FaultFoundError if that took too long.
    """
    day = today_utc() - timedelta(days=1 + len(figures.ended_after))
    state, file = oracle.Day(), world.home / f"{day}.late"
    lines = oracle.lines_of(day, oracle.OF_COMMAND, LINES, random)
    state.add(lines)
    file.write_bytes(oracle.encode(lines))
    with world.connect() as holder, day_lock(holder, day):
        world.finish(actions.ingest_file, file, datetime.now(UTC))
        killed: set[str] = set()
        _until("a run builds the day", lambda: _kill_builders(instance, daemon, killed))
        began = time.monotonic()
        _until(
            "the killed run is ended", lambda: all(_is_over(instance, run_id) for run_id in killed)
        )
        seconds = time.monotonic() - began
    figures.ended_after.append(seconds)
    if seconds > ENDED_WITHIN_SECONDS:
        raise FaultFoundError(f"a killed run was ended after {seconds:.1f} s only")
    return day, state


def _kill_builders(instance: dg.DagsterInstance, daemon: psutil.Process, killed: set[str]) -> bool:
    """Kill the run that has its place in the pool and waits for the lock of its day."""
    waiting = instance.event_log_storage.get_concurrency_info("rollups").active_run_ids
    for run in running_runs():
        if run.job == ROLLUPS_JOB and run.run_id in waiting and kill_below(daemon, run.pid):
            killed.add(run.run_id)
    return bool(killed)


def _is_over(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    in_pool = instance.event_log_storage.get_concurrency_info("rollups").active_run_ids
    return run is not None and run.is_finished and run_id not in in_pool


def _wrong(world: World, days: dict[date, oracle.Day]) -> list[str]:
    with world.connect() as connection:
        return faults(connection, days, world.home)


def _until(what: str, question: Callable[[], object]) -> None:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not question():
        if time.monotonic() > give_up:
            raise StuckError(f"never: {what}")
        time.sleep(0.2)
