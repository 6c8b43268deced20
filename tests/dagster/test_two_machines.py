"""Two machines build different days at once, as docs/deploy.md has it.

Each has a `DAGSTER_HOME` and a `SIGNAL_HOME` of its own. They share Dagster's storage and Signal's
database. One of them runs the daemon.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import BinaryIO

import dagster as dg
import psycopg
import pytest
import yaml
from conftest import SECRET, START_DATE, Fill
from support.commands import PROGRAM
from support.dagster import built, dagster_processes, listens, row_counts
from support.days import days_ago
from support.logs import logged
from support.waits import PATIENCE_SECONDS, eventually

from faults import launched
from faults.wire import free_port
from signal_pipeline.dagster.home import open_instance, project_file
from signal_pipeline.dagster.liveness import START_SECONDS
from signal_pipeline.dagster.names import ABANDONED_RUNS_SENSOR
from signal_pipeline.dagster.runs import range_tags
from signal_pipeline.days.calendar import day_lock
from signal_pipeline.postgres.database import Connection, Database, ensure_database
from signal_pipeline.postgres.urls import sqlalchemy_url, with_database
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

# The daemon has looked for dead runs for longer than it waits before it ends one.
LOOKS = int(START_SECONDS / 5) + 2  # It looks every five seconds.
TOTAL = """
select sum(events)::bigint from signal.daily_app_activity
where activity_date = %s and event_type = '(all)'
"""


@dataclass(frozen=True)
class Machine:
    """The environment of one machine's processes, and its `DAGSTER_HOME`."""

    home: Path
    environment: dict[str, str]
    log: BinaryIO

    def backfill(self, first: date, last: date) -> subprocess.Popen[bytes]:
        """Rebuild days by the command, which executes its runs itself."""
        command = [*PROGRAM, "backfill", "--from", str(first), "--to", str(last)]
        return self._start(command)

    def execute(self, run: dg.DagsterRun) -> subprocess.Popen[bytes]:
        """Execute a launched run, as the worker of a run launcher does."""
        return self._start([sys.executable, launched.__file__, run.run_id])

    def run_dagster(self, *arguments: str) -> None:
        """Run a command of Dagster's to its end."""
        program = str(Path(sys.executable).parent / "dagster")
        subprocess.run([program, *arguments], env=self.environment, check=True, capture_output=True)

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, env=self.environment, stderr=self.log)


@pytest.fixture
def storage(server: str) -> Iterator[str]:
    """The URL of Dagster's storage."""
    name = f"dagster_machines_{os.getpid()}"
    ensure_database(server, name)
    yield sqlalchemy_url(with_database(server, name))
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")  # type: ignore[arg-type]


@pytest.fixture
def machines(admin_url: str, storage: str, tmp_path: Path) -> Iterator[list[Machine]]:
    """Two machines, with a place in the pool of the rollups for each of three builders."""
    bare = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SIGNAL", "DAGSTER"))
    }
    environments = []
    for number in (1, 2):
        home, own_home = tmp_path / f"dagster-{number}", tmp_path / f"signal-{number}"
        home.mkdir()
        own_home.mkdir()
        shutil.copyfile(project_file("dagster.yaml"), home / "dagster.yaml")
        own = {"DAGSTER_HOME": str(home), "SIGNAL_HOME": str(own_home)}
        shared = {
            "SIGNAL_ENV": "production",
            "SIGNAL_DATABASE_URL": admin_url,
            "SIGNAL_DAGSTER_DATABASE_URL": storage,
            "SIGNAL_START_DATE": START_DATE.isoformat(),
            "SIGNALS_SALT_SECRET": SECRET,
        }
        environments.append((home, {**bare, **shared, **own}))
    with logged(tmp_path / "builders.log") as log:
        found = [Machine(home, environment, log) for home, environment in environments]
        found[0].run_dagster("instance", "concurrency", "set", "rollups", "3")
        yield found


@pytest.fixture
def instance(
    machines: list[Machine], storage: str, environment: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """The shared instance, as the first machine sees it."""
    monkeypatch.setenv("DAGSTER_HOME", str(machines[0].home))
    monkeypatch.setenv("SIGNAL_DAGSTER_DATABASE_URL", storage)
    with open_instance(environment.model_copy(update={"dagster_database_url": storage})) as shared:
        yield shared


@contextmanager
def daemon(machine: Machine) -> Iterator[None]:
    """Run the code location and the daemon on a machine."""
    port = free_port()
    entry = {"grpc_server": {"host": "127.0.0.1", "port": port, "location_name": "signal"}}
    (machine.home / "workspace.yaml").write_text(yaml.safe_dump({"load_from": [entry]}))
    with dagster_processes(machine.home) as start:
        location = f"code-server start -h 127.0.0.1 -p {port} -m signal_pipeline.definitions"
        start(["dagster", *location.split()], machine.environment)
        eventually(lambda: listens(port), "the code location listens")
        start(["dagster-daemon", "run", "-w", "workspace.yaml"], machine.environment)
        yield


def places(instance: dg.DagsterInstance) -> set[str]:
    """The runs that build at this moment."""
    return instance.event_log_storage.get_concurrency_info("rollups").active_run_ids


def looks(instance: dg.DagsterInstance) -> int:
    """How often the daemon has looked for dead runs."""
    return sum(
        len(instance.get_ticks(state.instigator_origin_id, state.selector_id))
        for state in instance.all_instigator_state()
        if state.instigator_name == ABANDONED_RUNS_SENSOR
    )


def unfinished(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """All runs that have not ended."""
    return [run for run in instance.get_runs() if not run.is_finished]


def test_each_builds_its_days_and_the_daemon_ends_only_what_is_dead(
    machines: list[Machine],
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
    database: Database,
    connection: Connection,
    models: Models,
    fill: Fill,
) -> None:
    one, two = machines
    first, second, third = ([days_ago(ago + 1), days_ago(ago)] for ago in (20, 15, 10))
    wanted = {day: 10 + n for n, day in enumerate([*first, *second, *third])}
    for day, events in wanted.items():
        fill(day, events)
    job = defs.resolve_job_def("rollups_job")
    run = launched.create_run(instance, job, tags=range_tags(second[0], second[1]))
    with ExitStack() as running:
        with ExitStack() as held:
            for day in wanted:
                held.enter_context(day_lock(held.enter_context(database.connect()), day))
            builders = [one.backfill(*first), two.execute(run)]
            eventually(lambda: len(places(instance)) == 2, "both machines build at once")
            living = places(instance)
            victim = two.backfill(*third)
            eventually(lambda: len(places(instance)) == 3, "so does another process")
            (dead,) = places(instance) - living
            running.enter_context(daemon(one))
            eventually(lambda: looks(instance) >= LOOKS, "the daemon looks for dead runs")
            assert places(instance) == {*living, dead}
            victim.kill()
            victim.wait()
            eventually(lambda: places(instance) == living, "the daemon ends the killed run")
        assert [builder.wait(PATIENCE_SECONDS) for builder in builders] == [0, 0]
        eventually(
            lambda: {day: built(connection, day) for day in wanted} == wanted,
            "the daemon builds the days of the killed run",
        )
        eventually(lambda: not unfinished(instance), "every run ends")

    assert run.run_id in living
    assert [run.run_id for run in instance.get_runs() if not run.is_success] == [dead]
    for day, events in wanted.items():
        assert connection.execute(TOTAL, [day]).fetchone() == (events,)
        for name in models:
            assert len(row_counts(instance, name, day)) == 1, "it was built once"
