"""Fixtures for real Dagster runs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest
import yaml
from support.alerts import SetClock
from support.cluster import copied_database
from support.dagster import Run
from support.ticks import AddRun, Tick

from faults import launched
from signal_pipeline.dagster.home import open_instance
from signal_pipeline.dagster.liveness import end_dead_runs
from signal_pipeline.dagster.names import load_names
from signal_pipeline.dagster.run_locks import lock_space
from signal_pipeline.dagster.runs import LOCK_TAG, OwnRuns
from signal_pipeline.definitions import build_defs
from signal_pipeline.postgres.database import Connection, Database, ensure_database
from signal_pipeline.postgres.urls import sqlalchemy_url, with_database
from signal_pipeline.settings import Settings, load_settings


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance of its own."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture(scope="session")
def defs() -> dg.Definitions:
    """The project's definitions."""
    return build_defs(load_settings())


@pytest.fixture
def run(environment: Settings, instance: dg.DagsterInstance, defs: dg.Definitions) -> Run:
    """Runs a job, or a selection of its assets: for a day, from `day` to `last`, or for none.

    If `checks` are given, it evaluates no others: all of them take a second.
    """

    def run_job(
        job: str,
        day: date | None,
        last: date | None = None,
        tags: dict[str, str] | None = None,
        selection: Sequence[dg.AssetKey] | None = None,
        checks: Sequence[tuple[str, str]] | None = None,
    ) -> dg.ExecuteInProcessResult:
        definition = defs.resolve_job_def(job)
        if checks is not None:
            definition = definition.get_subset(
                asset_selection=definition.asset_layer.selected_asset_keys,
                asset_check_selection={
                    dg.AssetCheckKey(dg.AssetKey(a), name) for a, name in checks
                },
            )
        tags = dict(tags or {})
        if last:
            tags["dagster/asset_partition_range_start"] = str(day)
            tags["dagster/asset_partition_range_end"] = str(last)
        return definition.execute_in_process(
            instance=instance,
            partition_key=str(day) if day and not last else None,
            tags=tags,
            asset_selection=selection,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )

    return run_job


@pytest.fixture
def admin_url(database: Database, connection: Connection) -> Iterator[str]:
    """The test's database by a login that has the role signal_admin, and owns nothing."""
    login = f"test_dagster_admin_{os.getpid()}"
    connection.execute(f"create role {login} login in role signal_admin")  # type: ignore[arg-type]
    yield database.url.replace("postgres@", f"{login}@")
    connection.execute(f"drop role {login}")  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def empty_storage(server: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database with Dagster's tables, which take long to make, for copies."""
    name, folder = "dagster_template", tmp_path_factory.mktemp("storage")
    ensure_database(server, name)
    url = sqlalchemy_url(with_database(server, name))
    config = {"storage": {"postgres": {"postgres_url": url}}, "telemetry": {"enabled": False}}
    (folder / "dagster.yaml").write_text(yaml.safe_dump(config))
    with dg.DagsterInstance.from_config(str(folder)):
        return name


@pytest.fixture
def storage(server: str, empty_storage: str) -> Iterator[Database]:
    """A storage of Dagster's on PostgreSQL, without runs."""
    with copied_database(server, "dagster_storage", empty_storage) as copied:
        yield copied


@pytest.fixture
def stored(
    environment: Settings, storage: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance on PostgreSQL, which other processes share."""
    url = sqlalchemy_url(storage.url)
    monkeypatch.setenv("SIGNAL_DAGSTER_DATABASE_URL", url)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    settings = environment.model_copy(update={"dagster_database_url": url})
    with open_instance(settings) as instance:
        yield instance


@pytest.fixture
def ours(connection: Connection) -> OwnRuns:
    """The names and locks that are ours in the code location `signal`."""
    return OwnRuns(load_names(), lock_space(connection), launched.label("signal"))


@pytest.fixture
def looks(
    stored: dg.DagsterInstance, connection: Connection, ours: OwnRuns
) -> Callable[[float], list[str]]:
    """Looks twice, with so many seconds in between; returns the runs that were ended."""

    def look_twice(seconds: float) -> list[str]:
        ended, suspects = end_dead_runs(stored, connection, ours, {}, 0.0)
        assert ended == [], "one look ends nothing"
        ended, suspects = end_dead_runs(stored, connection, ours, suspects, seconds)
        return ended

    return look_twice


@pytest.fixture
def tick(environment: Settings, instance: dg.DagsterInstance, defs: dg.Definitions) -> Tick:
    """Evaluates a sensor once."""

    def evaluate(name: str, cursor: str | None = None) -> dg.SensorResult | dg.SkipReason:
        sensor = defs.resolve_sensor_def(name)
        context = dg.build_sensor_context(
            instance=instance, definitions=defs, cursor=cursor, resources=defs.resources or {}
        )
        with context:
            result = sensor(context)
        assert isinstance(result, dg.SensorResult | dg.SkipReason)
        return result

    return evaluate


@pytest.fixture
def add_run(instance: dg.DagsterInstance, defs: dg.Definitions, connection: Connection) -> AddRun:
    """Adds a run of ours that has had its lock."""

    def add(
        job: str, status: dg.DagsterRunStatus, tags: dict[str, str] | None = None
    ) -> dg.DagsterRun:
        known = {LOCK_TAG: lock_space(connection), **(tags or {})}
        return instance.create_run_for_job(defs.resolve_job_def(job), tags=known, status=status)

    return add


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Sets the clock so many seconds ahead of the right time; it can be that of the runs alone."""
    right_time = time.time

    def set_ahead(seconds: float, *, of_runs_alone: bool = False) -> None:
        def now() -> float:
            return right_time() + seconds

        monkeypatch.setattr("dagster._time._mockable_get_current_timestamp", now)
        monkeypatch.setattr(
            "dagster._time._mockable_get_current_datetime",
            lambda: datetime.fromtimestamp(now(), UTC),
        )
        monkeypatch.setattr("time.time", right_time if of_runs_alone else now)

    return set_ahead
