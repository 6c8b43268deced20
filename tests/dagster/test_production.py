"""The production setup of docs/operations.md.

Dagster's parts are processes of their own, which run as the admin.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from conftest import SECRET, START_DATE, Build, Fill
from support.dagster import asker, built, dagster_processes, ingest, listens, rows_of, wait_for_ui
from support.days import RETENTION_DAYS, due_day, yesterday
from support.traffic import traffic
from support.waits import eventually

from faults.wire import free_port
from signal_pipeline.dagster.home import project_file
from signal_pipeline.days.calendar import days_between
from signal_pipeline.postgres.database import Connection, Database, ensure_database
from signal_pipeline.postgres.urls import sqlalchemy_url, with_database
from signal_pipeline.privacy.retention import purge_due_days
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

WORKSPACE = "load_from: [{grpc_server: {host: 127.0.0.1, port: PORT, location_name: signal}}]"
LOADED = (
    "{ workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError {"
    " __typename } } } } }"
)
LAUNCH = """mutation($asked: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $asked) { ... on LaunchBackfillSuccess { backfillId } } }"""
BACKFILL = """query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill {
  status runs { runId status } assetBackfillData { assetBackfillStatuses { ... on AssetPartitionsStatusCounts {
  numPartitionsTargeted numPartitionsMaterialized } } } } } }"""
CHECKS = """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode { assetChecksOrError {
  ... on AssetChecks { checks { executionForLatestMaterialization { status runId } } } } } } }"""
NOTES = """query($key: AssetKeyInput!, $days: [String!]) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  assetMaterializations(partitions: $days, limit: 1) { metadataEntries { label ... on TextMetadataEntry { text } } } } } }"""
FAILURES = """query($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events {
  ... on ExecutionStepFailureEvent { error { message } failureMetadata { metadataEntries { label } } } } } } }"""


@pytest.fixture
def parts(server: str, admin_url: str, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Code location, daemon and web server, started as in docs/operations.md.

    Gives a function that asks GraphQL.
    """
    name = f"dagster_parts_{os.getpid()}"
    ensure_database(server, name)
    home = tmp_path / "dagster"
    home.mkdir()
    shutil.copyfile(project_file("dagster.yaml"), home / "dagster.yaml")
    code, web = free_port(), free_port()
    (home / "workspace.yaml").write_text(WORKSPACE.replace("PORT", str(code)))
    bare = {
        key: value for key, value in os.environ.items() if not key.startswith(("SIGNAL", "DAGSTER"))
    }
    every = {
        **bare,
        "DAGSTER_HOME": str(home),
        "SIGNAL_DAGSTER_DATABASE_URL": sqlalchemy_url(with_database(server, name)),
    }
    ours = {
        "SIGNAL_ENV": "production",
        "SIGNAL_DATABASE_URL": admin_url,
        "SIGNAL_HOME": str(tmp_path / "home"),
        "SIGNAL_START_DATE": START_DATE.isoformat(),
        "SIGNALS_SALT_SECRET": SECRET,
    }
    location = [
        "dagster",
        *f"code-server start -h 127.0.0.1 -p {code} -m signal_pipeline.definitions".split(),
    ]
    ui = ["dagster-webserver", "-h", "127.0.0.1", "-p", str(web), "-w", "workspace.yaml"]
    ask = asker(web)
    with dagster_processes(home) as start:
        start(location, {**every, **ours})
        eventually(lambda: listens(code), "the code location listens")
        start(["dagster-daemon", "run", "-w", "workspace.yaml"], every)
        wait_for_ui(ask, start(ui, every))
        yield ask
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")  # type: ignore[arg-type]


def test_the_parts_of_production_run_apart_as_the_admin(
    parts: Callable[..., Any], environment: Settings, connection: Connection
) -> None:
    (entry,) = parts(LOADED)["workspaceOrError"]["locationEntries"]
    assert entry == {"name": "signal", "locationOrLoadError": {"__typename": "RepositoryLocation"}}
    ingest(traffic(yesterday(), 40))
    eventually(lambda: built(connection, yesterday()) == 40, "yesterday is built")


@pytest.fixture
def backfill(parts: Callable[..., Any], models: Models) -> Callable[[list[date]], str]:
    """Launches a backfill of every rollup as the UI does; returns its id."""

    def launch(days: list[date]) -> str:
        assets = [{"path": [name]} for name in models]
        asked = {"assetSelection": assets, "partitionNames": [str(day) for day in days]}
        return str(parts(LAUNCH, asked=asked)["launchPartitionBackfill"]["backfillId"])

    return launch


def test_a_backfill_says_what_became_of_purged_days_and_impossible_ones_and_every_check_has_a_result(
    parts: Callable[..., Any],
    backfill: Callable[[list[date]], str],
    database: Database,
    connection: Connection,
    models: Models,
    fill: Fill,
    build: Build,
) -> None:
    days = [due_day(2), due_day(1), due_day(0)]
    for day in days:
        fill(day)
        build(day)
    assert purge_due_days(database, models, RETENTION_DAYS).purged == days[:2]
    before = {(name, day): rows_of(connection, name, day) for name in models for day in days}
    connection.execute("update signal.instance set start_date = %s", [days[0]])
    impossible = days_between(days[0] - timedelta(days=3), days[0] - timedelta(days=1))
    mixed, refused = backfill(days), backfill(impossible)

    def asked(backfill_id: str) -> Any:
        return parts(BACKFILL, id=backfill_id)["partitionBackfillOrError"]

    for each, status in ((mixed, "COMPLETED_SUCCESS"), (refused, "COMPLETED_FAILED")):
        eventually(
            lambda each=each: asked(each)["status"].startswith("COMPLETED"), "a backfill ends"
        )
        assert asked(each)["status"] == status
    counts = asked(mixed)["assetBackfillData"]["assetBackfillStatuses"]
    assert counts == [{"numPartitionsTargeted": 3, "numPartitionsMaterialized": 3}] * len(models)
    assert {
        (name, day): rows_of(connection, name, day) for name in models for day in days
    } == before

    for name in models:
        (mark,) = parts(NOTES, key={"path": [name]}, days=[str(days[0])])["assetNodeOrError"][
            "assetMaterializations"
        ]
        notes = {entry["label"]: entry.get("text") for entry in mark["metadataEntries"]}
        assert (notes["state"], notes["note"].partition(":")[0]) == ("purged", "purged")

    (run,) = asked(refused)["runs"]
    sentence = (
        f"3 day(s) not built, before the start date {days[0]}: {impossible[0]} to {impossible[-1]}"
    )
    events = parts(FAILURES, id=run["runId"])["logsForRun"]["events"]
    assert any(sentence in event["error"]["message"] for event in events if event)

    def unknown() -> list[Any]:
        answers = [
            parts(CHECKS, key={"path": [name]})["assetNodeOrError"]
            for name in (*models, "raw_events")
        ]
        checks = [
            check["executionForLatestMaterialization"]
            for each in answers
            for check in each["assetChecksOrError"]["checks"]
        ]
        assert len(checks) > 90
        return [
            check
            for check in checks
            if check is None or check["status"] not in ("SUCCEEDED", "FAILED")
        ]

    eventually(lambda: not unknown(), "every check has a result")
