"""Backfills as somebody launches them in the Dagster UI: by its GraphQL, through its daemon."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from conftest import Build, Fill
from dagster_tests_support import RETENTION_DAYS, due_day, eventually, rows_of
from test_production import parts  # noqa: F401 - a fixture

from signal_pipeline.rollups.models import Model
from signal_pipeline.store.database import Connection, Database
from signal_pipeline.store.days import days_between
from signal_pipeline.store.retention import purge_due_days

pytestmark = [pytest.mark.embedded_only, pytest.mark.timeout(600)]

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
def backfill(parts: Callable[..., Any], models: dict[str, Model]) -> Callable[[list[date]], str]:  # noqa: F811
    """Launches a backfill of every rollup as the UI does; returns its id."""

    def launch(days: list[date]) -> str:
        assets = [{"path": [name]} for name in models]
        asked = {"assetSelection": assets, "partitionNames": [str(day) for day in days]}
        return str(parts(LAUNCH, asked=asked)["launchPartitionBackfill"]["backfillId"])

    return launch


def test_a_backfill_says_what_became_of_purged_days_and_impossible_ones_and_every_check_has_a_result(
    parts: Callable[..., Any],  # noqa: F811
    backfill: Callable[[list[date]], str],
    database: Database,
    connection: Connection,
    models: dict[str, Model],
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
        eventually(lambda each=each: asked(each)["status"].startswith("COMPLETED"), "a backfill ends")
        assert asked(each)["status"] == status
    counts = asked(mixed)["assetBackfillData"]["assetBackfillStatuses"]
    assert counts == [{"numPartitionsTargeted": 3, "numPartitionsMaterialized": 3}] * len(models)
    assert {(name, day): rows_of(connection, name, day) for name in models for day in days} == before

    for name in models:
        (mark,) = parts(NOTES, key={"path": [name]}, days=[str(days[0])])["assetNodeOrError"]["assetMaterializations"]
        notes = {entry["label"]: entry.get("text") for entry in mark["metadataEntries"]}
        assert (notes["state"], notes["note"].partition(":")[0]) == ("purged", "purged")

    (run,) = asked(refused)["runs"]
    sentence = f"3 day(s) not built, before the start date {days[0]}: {impossible[0]} to {impossible[-1]}"
    events = parts(FAILURES, id=run["runId"])["logsForRun"]["events"]
    assert any(sentence in event["error"]["message"] for event in events if event)

    def unknown() -> list[Any]:
        answers = [parts(CHECKS, key={"path": [name]})["assetNodeOrError"] for name in (*models, "raw_events")]
        checks = [
            check["executionForLatestMaterialization"]
            for each in answers
            for check in each["assetChecksOrError"]["checks"]
        ]
        assert len(checks) > 90
        return [check for check in checks if check is None or check["status"] not in ("SUCCEEDED", "FAILED")]

    eventually(lambda: not unknown(), "every check has a result")
