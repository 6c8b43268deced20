"""One Dagster instance for two Signals and another team.

It has a workspace of three code locations under one daemon.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest
import yaml
from conftest import START_DATE, Fill
from psycopg import sql
from support.commands import run_command
from support.dagster import built, dagster_processes, listens, storage_rows
from support.days import days_ago, yesterday
from support.traffic import traffic
from support.waits import PATIENCE_SECONDS, eventually

from faults import launched, neighbour
from faults.wire import free_port
from signal_pipeline.dagster.home import open_instance, project_file
from signal_pipeline.dagster.names import Names, load_names
from signal_pipeline.dagster.pruning import prune_dagster_storage
from signal_pipeline.dagster.run_locks import lock_space
from signal_pipeline.dagster.runs import LOCK_TAG, OwnRuns, location_of
from signal_pipeline.days.calendar import day_lock
from signal_pipeline.postgres.database import Database, ensure_database
from signal_pipeline.postgres.urls import sqlalchemy_url, with_database
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

NEIGHBOUR_SECONDS = 40.0  # Longer than it takes to end a dead run.
PREFIXES = {"north": "north", "south": "data-team/south"}
PROGRAM = [sys.executable, "-c", "from signal_pipeline.cli import main; main()"]


@dataclass(frozen=True)
class Signal:
    """One of the two: a code location with a database, a home and a prefix of its own."""

    location: str
    names: Names
    database: Database
    environment: dict[str, str]

    def ours(self) -> OwnRuns:
        with self.database.connect() as connection:
            return OwnRuns(self.names, lock_space(connection), launched.label(self.location))

    def command(self, *arguments: str, stdin: bytes = b"") -> None:
        """Run a command of this Signal."""
        subprocess.run(
            [*PROGRAM, *arguments],
            input=stdin,
            env=self.environment,
            check=True,
            capture_output=True,
        )

    def built(self) -> int | None:
        """How many events yesterday's rollups were built from."""
        with self.database.connect() as connection:
            return built(connection, yesterday())


@dataclass(frozen=True)
class Shared:
    """The instance that they share."""

    instance: dg.DagsterInstance
    storage: Database
    folder: Path
    environment: dict[str, str]

    def runs(self, location: str | None, job: str | None = None) -> list[dg.DagsterRun]:
        """The runs of a code location."""
        found = self.instance.get_runs(dg.RunsFilter(job_name=job))
        return [
            run
            for run in found
            if location_of(run) == (launched.label(location) if location else None)
        ]

    def finished(self, location: str | None) -> bool:
        """True if a run of the location has ended well."""
        return any(run.is_success for run in self.runs(location))

    def unfinished(self) -> list[dg.DagsterRun]:
        """All runs that have not ended."""
        return [run for run in self.instance.get_runs() if not run.is_finished]


@pytest.fixture
def shared(
    environment: Settings, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shared]:
    """Dagster's instance on a database of its own."""
    name = f"dagster_shared_{os.getpid()}"
    ensure_database(server, name)
    home = tmp_path / "dagster"
    home.mkdir()
    shutil.copyfile(project_file("dagster.yaml"), home / "dagster.yaml")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("SIGNAL_DAGSTER_DATABASE_URL", sqlalchemy_url(with_database(server, name)))
    settings = environment.model_copy(
        update={"dagster_database_url": sqlalchemy_url(with_database(server, name))}
    )
    storage = Database(with_database(server, name))
    with open_instance(settings) as instance:
        yield Shared(instance, storage, home, dict(os.environ))
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def signals(
    shared: Shared, database: Database, server: str, template: str, tmp_path: Path
) -> Iterator[list[Signal]]:
    """Two Signals on two databases."""
    other = f"signal_south_{os.getpid()}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {other} template {template}")  # type: ignore[arg-type]
    databases = {"north": database, "south": Database(with_database(server, other))}
    yield [
        Signal(
            location,
            Names(load_names().rollups, tuple(prefix.split("/"))),
            databases[location],
            {
                **shared.environment,
                "SIGNAL_DATABASE_URL": databases[location].url,
                "SIGNAL_HOME": str(tmp_path / location),
                "SIGNAL_ASSET_KEY_PREFIX": prefix,
                "SIGNAL_START_DATE": START_DATE.isoformat(),
            },
        )
        for location, prefix in PREFIXES.items()
    ]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"drop database {other} with (force)")  # type: ignore[arg-type]


@contextmanager
def running(shared: Shared, signals: list[Signal]) -> Iterator[None]:
    """The three code servers, validated, and the daemon."""
    starts = {
        "NEIGHBOUR_STARTS": str(shared.folder / "starts"),
        "NEIGHBOUR_SECONDS": str(NEIGHBOUR_SECONDS),
    }
    theirs = {**shared.environment, **starts}
    served = [
        *(
            (each.location, ["-m", "signal_pipeline.definitions"], each.environment)
            for each in signals
        ),
        ("neighbour", ["-f", neighbour.__file__], theirs),
    ]
    ports = {location: free_port() for location, *_ in served}
    entries = [
        {"grpc_server": {"host": "127.0.0.1", "port": port, "location_name": location}}
        for location, port in ports.items()
    ]
    (shared.folder / "workspace.yaml").write_text(yaml.safe_dump({"load_from": entries}))
    with dagster_processes(shared.folder) as start:
        for location, code, environment in served:
            start(
                ["dagster", "code-server", "start", "-p", str(ports[location]), *code], environment
            )
        eventually(lambda: all(map(listens, ports.values())), "the code locations listen")
        validate = [
            Path(sys.executable).parent / "dagster",
            "definitions",
            "validate",
            "-w",
            "workspace.yaml",
        ]
        subprocess.run(
            validate, cwd=shared.folder, env=shared.environment, check=True, capture_output=True
        )
        start(["dagster-daemon", "run", "-w", "workspace.yaml"], shared.environment)
        start(["python", neighbour.__file__], theirs)
        yield


def test_each_works_on_its_own_and_nobody_touches_what_is_anothers(
    shared: Shared, signals: list[Signal]
) -> None:
    north, south = signals
    with running(shared, signals):
        for each, events in ((north, 40), (south, 7)):
            each.command("ingest", "-", stdin=b"\n".join(traffic(yesterday(), events)))
        eventually(lambda: (north.built(), south.built()) == (40, 7), "both have built yesterday")
        # A command of south's takes longer than north waits before it ends a dead run. The
        # neighbour's runs take longer than that too.
        day = days_ago(31)
        with south.database.connect() as holder, day_lock(holder, day):
            command = [*PROGRAM, "backfill", "--from", str(day), "--to", str(day)]
            backfill = subprocess.Popen(command, env=south.environment, stderr=subprocess.DEVNULL)
            eventually(
                lambda: shared.runs(None, "data_team__south__rollups_job"), "south's command runs"
            )
            eventually(
                lambda: shared.finished("neighbour") and shared.finished(None),
                "the neighbour's runs end",
            )
            assert backfill.poll() is None
        assert backfill.wait(PATIENCE_SECONDS) == 0
        eventually(lambda: not shared.unfinished(), "every run ends")

    assert {run.status for run in shared.instance.get_runs()} == {dg.DagsterRunStatus.SUCCESS}
    assert sorted((shared.folder / "starts").read_text().split()) == ["job", "script"]
    for each in signals:
        key = dg.AssetKey([*each.names.prefix, "daily_app_activity"])
        assert str(yesterday()) in shared.instance.get_materialized_partitions(key)
        assert {run.job_name for run in shared.runs(each.location)} <= each.names.jobs
        assert {run.tags[LOCK_TAG] for run in shared.runs(each.location)} == {each.ours().locks}
    assert shared.instance.get_materialized_partitions(dg.AssetKey("daily_app_activity")) == set()
    _prune_north_alone(shared, north)


def _prune_north_alone(shared: Shared, north: Signal) -> None:
    norths = {run.run_id for run in shared.runs("north")}
    norths |= {
        state.selector_id
        for state in shared.instance.all_instigator_state()
        if state.origin.repository_origin.get_label() == launched.label("north")
    }
    before = storage_rows(shared.storage)
    pruned = prune_dagster_storage(
        shared.instance, north.ours(), datetime.now(UTC) + timedelta(days=1)
    )
    gone = before - storage_rows(shared.storage)
    assert pruned
    assert {owner for _, owner, _ in gone} <= norths
    assert {table for table, *_ in gone} >= {"event_logs", "job_ticks"}
    assert pruned.deleted["ticks"] == len([table for table, *_ in gone if table == "job_ticks"]) > 5
    assert pruned.others
    assert min(pruned.others[kind] for kind in ("events", "runs", "ticks")) > 0


def dagster_databases(server: str) -> tuple[object, ...] | None:
    """How many databases of Dagster's the server holds; other tests can have made one."""
    with psycopg.connect(server) as connection:
        found = connection.execute(
            "select count(*) from pg_database where datname = 'signal_dagster'"
        )
        return found.fetchone()


@pytest.mark.parametrize("configured", [True, False], ids=["dagster.yaml", "defaults"])
def test_a_command_leaves_the_configuration_of_an_instance_as_it_is(
    environment: Settings, admin_url: str, fill: Fill, tmp_path: Path, server: str, configured: bool
) -> None:
    """Their storage is SQLite; the login of Signal has no right to create a database."""
    fill(yesterday())
    home = tmp_path / "theirs"
    (home / "history").mkdir(parents=True)
    if configured:
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    day, before = str(yesterday()), dagster_databases(server)
    done = run_command(
        "backfill",
        "--from",
        day,
        "--to",
        day,
        cwd=tmp_path,
        DAGSTER_HOME=str(home),
        SIGNAL_DATABASE_URL=admin_url,
    )
    assert done.returncode == 0, done.stderr
    assert (home / "dagster.yaml").exists() == configured
    assert dagster_databases(server) == before
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert [run.status for run in instance.get_runs()] == [dg.DagsterRunStatus.SUCCESS]
