"""Pruning the runs that people start in the UI: they are of no job of ours, some only of checks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from conftest import Fill
from support.dagster import Run
from support.days import yesterday

from faults import launched
from signal_pipeline.dagster.pruning import prune_dagster_storage
from signal_pipeline.dagster.runs import OwnRuns

pytestmark = pytest.mark.embedded_only

APP = dg.AssetKey("daily_app_activity")
UNIQUE, NOT_NULL = (
    dg.AssetCheckKey(APP, name) for name in ("grain_is_unique", "app_name_not_null")
)


@pytest.fixture
def instance(stored: dg.DagsterInstance) -> dg.DagsterInstance:
    """The storage on PostgreSQL, for all runs of these tests."""
    return stored


def evaluate(instance: dg.DagsterInstance, defs: dg.Definitions, *checks: dg.AssetCheckKey) -> str:
    """Evaluate checks as the UI does, and return the run's id."""
    job = defs.resolve_implicit_global_asset_job_def()
    run, part = launched.create_run_of_checks(instance, job, frozenset(checks))
    launched.execute_in_this_process(instance, run, part)
    return run.run_id


def prune(instance: dg.DagsterInstance, ours: OwnRuns) -> None:
    """Prune everything that is older than a time in the future, which is everything."""
    assert prune_dagster_storage(instance, ours, datetime.now(UTC) + timedelta(days=1))


def runs(instance: dg.DagsterInstance) -> set[str]:
    """The ids of the runs that are left."""
    return {run.run_id for run in instance.get_runs()}


def shown(instance: dg.DagsterInstance, *checks: dg.AssetCheckKey) -> dict[str, tuple[str, str]]:
    """What the UI shows of each check: the status of its last evaluation, and the run's id."""
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(checks))
    return {key.name: (each.status.value, each.run_id) for key, each in records.items()}


def test_a_run_of_checks_goes_unless_a_check_has_its_last_result_from_it(
    environment: None, instance: dg.DagsterInstance, defs: dg.Definitions, ours: OwnRuns
) -> None:
    old = evaluate(instance, defs, UNIQUE, NOT_NULL)
    second = evaluate(instance, defs, UNIQUE, NOT_NULL)
    third = evaluate(instance, defs, UNIQUE)
    before = shown(instance, UNIQUE, NOT_NULL)
    assert {status for status, _ in before.values()} == {"SUCCEEDED"}
    assert {run_id for _, run_id in before.values()} == {second, third}
    prune(instance, ours)
    assert old not in runs(instance)
    assert runs(instance) == {second, third}
    assert shown(instance, UNIQUE, NOT_NULL) == before
    last = evaluate(instance, defs, UNIQUE, NOT_NULL)
    prune(instance, ours)
    assert runs(instance) == {last}


def test_a_build_goes_after_the_last_results_of_its_checks_have_kept_it(
    instance: dg.DagsterInstance, defs: dg.Definitions, run: Run, fill: Fill, ours: OwnRuns
) -> None:
    """By then it has no event left that names an asset."""
    fill(yesterday())
    job = defs.resolve_implicit_global_asset_job_def()
    built = launched.create_run(
        instance,
        job,
        asset_selection=frozenset([APP]),
        tags={"dagster/partition": str(yesterday())},
    )
    launched.execute_in_this_process(instance, built, job.get_subset(asset_selection={APP}))
    rebuilt = run("rollups_job", yesterday()).run_id
    before = shown(instance, UNIQUE)
    prune(instance, ours)
    assert runs(instance) == {built.run_id, rebuilt}
    assert not instance.all_logs(built.run_id)
    assert shown(instance, UNIQUE) == before == {UNIQUE.name: ("SUCCEEDED", built.run_id)}
    checked = run("left_checks_job", None).run_id
    prune(instance, ours)
    assert runs(instance) == {rebuilt, checked}


@dg.asset_check(asset=dg.AssetKey("orders"))
def their_check() -> dg.AssetCheckResult:
    """A green check of another team."""
    return dg.AssetCheckResult(passed=True)


def test_runs_of_the_checks_of_others_stay(
    environment: None, instance: dg.DagsterInstance, ours: OwnRuns
) -> None:
    theirs = dg.Definitions(asset_checks=[their_check], executor=dg.in_process_executor)
    made = {evaluate(instance, theirs, *their_check.check_keys) for _ in range(3)}
    prune(instance, ours)
    assert runs(instance) == made
