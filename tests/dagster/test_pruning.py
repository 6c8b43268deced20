"""Pruning a real Dagster storage on PostgreSQL: old logs go, the state of every partition stays."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest
import yaml
from conftest import Fill
from dagster_tests_support import YESTERDAY, Run

from signal_pipeline import pruning
from signal_pipeline.liveness import end_dead_runs
from signal_pipeline.names import PRUNING_JOB, load_names
from signal_pipeline.pruning import prune_dagster_storage
from signal_pipeline.runs import Ours
from signal_pipeline.store.database import Connection, Database
from signal_pipeline.store.embedded import dagster_url, ensure_database

pytestmark = pytest.mark.embedded_only
DAYS = [YESTERDAY - timedelta(days=1), YESTERDAY]


@pytest.fixture
def storage(server: str) -> Iterator[Database]:
    """An empty database for Dagster."""
    ensure_database(server, "dagster_pruned")
    yield Database(server.replace("/postgres?", "/dagster_pruned?"))
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("drop database dagster_pruned with (force)")


@pytest.fixture
def instance(storage: Database, server: str, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance on it."""
    url = dagster_url(server, "dagster_pruned")
    config = {"storage": {"postgres": {"postgres_url": url}}, "telemetry": {"enabled": False}}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(config))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


def rows(storage: Database, table: str) -> int:
    """How many rows a table of Dagster's has."""
    with storage.connect() as connection:
        row = connection.execute(f"select count(*) from {table}").fetchone()  # type: ignore[arg-type]
    assert row
    return int(row[0])  # type: ignore[call-overload]


def test_a_pruning_run_that_takes_long_is_not_taken_for_dead(
    run: Run, instance: dg.DagsterInstance, storage: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNAL_DAGSTER_DATABASE_URL", storage.url)
    seen = []

    def prune_for_long(database: Database, before: datetime) -> dict[str, int]:
        seen.append(end_dead_runs(instance, connection, Ours.seen_by(connection, load_names()), {}, 0.0))
        return {}

    monkeypatch.setattr(pruning, "prune_dagster_storage", prune_for_long)
    assert run(PRUNING_JOB, None).success
    assert seen == [([], {})]


def test_old_logs_go_and_the_state_of_partitions_stays(
    run: Run, instance: dg.DagsterInstance, storage: Database, fill: Fill
) -> None:
    for day in DAYS:
        fill(day)
    for _ in range(3):
        assert run("rollups_job", DAYS[0], DAYS[1]).success
    assert run("nightly_job", YESTERDAY).success
    app, raw = dg.AssetKey("daily_app_activity"), dg.AssetKey("raw_events")
    before = {key: instance.get_materialized_partitions(key) for key in (app, raw)}
    latest = instance.get_latest_materialization_event(app)
    check = dg.AssetCheckKey(app, "grain_is_unique")
    checked = rows(storage, "asset_check_executions")
    events = rows(storage, "event_logs")

    assert set(prune_dagster_storage(storage, datetime.now(UTC) - timedelta(days=1)).values()) == {0}
    gone = prune_dagster_storage(storage, datetime.now(UTC) + timedelta(days=1))

    assert gone["prune_events"] > events * 0.8
    assert {key: instance.get_materialized_partitions(key) for key in (app, raw)} == before
    assert before[app] == {str(day) for day in DAYS}
    assert instance.get_latest_materialization_event(app) == latest
    assert rows(storage, "asset_check_executions") == checked  # Each was evaluated once.
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key([check])
    assert records[check].status.value == "SUCCEEDED"
    # Of the three range runs, the last one still holds the materializations of the day that the night did not build.
    assert gone["prune_runs"] == 2
    assert run("rollups_job", DAYS[0], DAYS[1]).success


def test_a_run_that_has_not_ended_keeps_its_events(
    instance: dg.DagsterInstance, storage: Database, defs: dg.Definitions
) -> None:
    running = instance.create_run_for_job(defs.resolve_job_def("rollups_job"), status=dg.DagsterRunStatus.STARTED)
    instance.report_engine_event("at work", running)
    assert prune_dagster_storage(storage, datetime.now(UTC) + timedelta(days=1))["prune_events"] == 0
    assert instance.get_run_by_id(running.run_id)
