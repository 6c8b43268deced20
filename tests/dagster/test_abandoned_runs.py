"""A killed run: it is found out, ended, and its place in the pool is free; a run that lives is left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from conftest import Fill
from dagster_tests_support import PATIENCE_SECONDS, YESTERDAY

from signal_pipeline import abandoned_runs
from signal_pipeline.abandoned_runs import abandoned_runs_sensor, end_abandoned_runs
from signal_pipeline.dagster_home import open_instance
from signal_pipeline.resources.postgres import PostgresResource
from signal_pipeline.runs import IN_FLIGHT, LOCAL_TAG
from signal_pipeline.settings import Settings
from signal_pipeline.store.database import Connection, Database
from signal_pipeline.store.days import day_lock
from signal_pipeline.store.embedded import dagster_url, ensure_database
from signal_pipeline.store.run_locks import held_run

pytestmark = [pytest.mark.embedded_only, pytest.mark.timeout(600)]

# A run as a worker of the daemon executes it: a job of the definitions on the shared instance.
WORKER = """
import sys
from signal_pipeline.dagster_home import open_instance
from signal_pipeline.definitions import defs
from signal_pipeline.settings import load_settings
with open_instance(load_settings()) as instance:
    defs.resolve_job_def("rollups_job").execute_in_process(instance=instance, partition_key=sys.argv[1])
"""


@pytest.fixture
def stored(
    environment: Settings, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance on PostgreSQL, which other processes share."""
    name = f"dagster_abandoned_{os.getpid()}"
    ensure_database(server, name)
    monkeypatch.setenv("SIGNAL_DAGSTER_DATABASE_URL", dagster_url(server, name))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    settings = environment.model_copy(update={"dagster_database_url": dagster_url(server, name)})
    with open_instance(settings) as instance:
        yield instance


def _start_worker() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WORKER, str(YESTERDAY)], stderr=subprocess.DEVNULL)


def _wait_for_claim(instance: dg.DagsterInstance) -> str:
    """The run that has its place in the pool."""
    for _ in range(1200):
        for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
            info = instance.event_log_storage.get_concurrency_info("rollups")
            if run.run_id in info.active_run_ids:
                return run.run_id
        time.sleep(0.1)
    pytest.fail("the run never began")


def test_a_killed_run_does_not_hold_up_the_next_one(
    stored: dg.DagsterInstance, fill: Fill, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abandoned_runs, "GRACE_SECONDS", 0.0)
    fill(YESTERDAY)
    with day_lock(connection, YESTERDAY):  # The build waits here, with its run and its place.
        victim = _start_worker()
        run_id = _wait_for_claim(stored)
        time.sleep(1)
        assert end_abandoned_runs(stored, connection) == [], "it lives"
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (ended := end_abandoned_runs(stored, connection)) and time.monotonic() < deadline:
            time.sleep(0.2)
    assert ended == [run_id]
    run = stored.get_run_by_id(run_id)
    assert run is not None
    assert run.status == dg.DagsterRunStatus.FAILURE
    assert _start_worker().wait(300) == 0
    assert connection.execute("select count(*) from signal.builds where day = %s", [YESTERDAY]).fetchone() == (6,)


def test_the_sensor_ends_what_is_dead(
    stored: dg.DagsterInstance, environment: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abandoned_runs, "GRACE_SECONDS", 0.0)
    run = stored.create_run_for_job(_empty_job)
    stored.report_dagster_event(
        dg.DagsterEvent(event_type_value="PIPELINE_START", job_name=_empty_job.name), run_id=run.run_id
    )
    resources = {"postgres": PostgresResource()}
    with dg.build_sensor_context(instance=stored, resources=resources) as context:
        assert "1 run(s) were ended" in str(abandoned_runs_sensor(context))
        assert "every started run lives" in str(abandoned_runs_sensor(context))


def test_the_run_of_a_command_is_known_by_the_same_lock(
    stored: dg.DagsterInstance, database: Database, connection: Connection
) -> None:
    run = stored.create_run_for_job(_empty_job, tags={LOCAL_TAG: "true"})
    waiting = stored.create_run_for_job(_empty_job)  # The daemon's, and not begun: no process is missing.
    with held_run(database, run.run_id):
        assert end_abandoned_runs(stored, connection) == []
    assert end_abandoned_runs(stored, connection) == [run.run_id]
    assert [each.run_id for each in stored.get_runs(dg.RunsFilter(statuses=IN_FLIGHT))] == [waiting.run_id]


@dg.job
def _empty_job() -> None:
    """Nothing."""
