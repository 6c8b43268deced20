"""Checks that a run left without a result: which they are, and when they are evaluated."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import dagster as dg
import pytest
from support.days import days_ago, today

from signal_pipeline.dagster import left_checks
from signal_pipeline.dagster.left_checks import UI_JOB
from signal_pipeline.dagster.names import RAW_EVENTS, load_names
from signal_pipeline.dagster.run_locks import lock_space
from signal_pipeline.dagster.runs import LOCK_TAG, range_tags
from signal_pipeline.postgres.database import Connection
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only
Tick = Callable[[], set[dg.AssetCheckKey] | None]
ROLLUP = dg.AssetKey("daily_app_activity")


@pytest.fixture
def tick(environment: Settings, instance: dg.DagsterInstance, defs: dg.Definitions) -> Tick:
    """Evaluates the sensor once; gives the checks that it asks for, None for no run."""

    def evaluate() -> set[dg.AssetCheckKey] | None:
        with dg.build_sensor_context(
            instance=instance, definitions=defs, resources=defs.resources or {}
        ) as context:
            result = defs.resolve_sensor_def("left_checks_sensor")(context)
        if isinstance(result, dg.SkipReason):
            return None
        assert isinstance(result, dg.RunRequest)
        return set(result.asset_check_keys or ())

    return evaluate


@pytest.fixture
def every_check(defs: dg.Definitions) -> set[dg.AssetCheckKey]:
    """The keys of all our checks."""
    return set(defs.resolve_job_def("left_checks_job").asset_layer.asset_graph.asset_check_keys)


def start(instance: dg.DagsterInstance, defs: dg.Definitions, job: str) -> dg.DagsterRun:
    return instance.create_run_for_job(
        defs.resolve_job_def(job), status=dg.DagsterRunStatus.STARTED
    )


@pytest.mark.parametrize("end", ["report_run_failed", "report_run_canceled", "delete_run"])
def test_checks_of_a_run_that_broke_off_are_asked_for_once(
    tick: Tick,
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
    every_check: set[dg.AssetCheckKey],
    monkeypatch: pytest.MonkeyPatch,
    end: str,
) -> None:
    assert tick() is None
    broken = start(instance, defs, "nightly_job")
    assert tick() is None, "it may come to them"
    getattr(instance, end)(broken.run_id if end == "delete_run" else broken)
    asked = tick()
    assert asked == every_check
    again = start(instance, defs, "left_checks_job")
    assert tick() is None
    instance.report_run_failed(again)
    assert tick() is None, "it would fail again at once"
    monkeypatch.setattr(left_checks, "PAUSE_SECONDS", 0)
    assert tick() == every_check


def test_a_run_of_several_days_is_in_flight_however_long_ago_it_started(
    tick: Tick,
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backfill = instance.create_run_for_job(
        defs.resolve_implicit_global_asset_job_def(),
        asset_selection=frozenset([ROLLUP]),
        tags={LOCK_TAG: lock_space(connection), **range_tags(days_ago(10), today())},
        status=dg.DagsterRunStatus.STARTED,
    )
    instance.report_run_failed(start(instance, defs, "nightly_job"))
    monkeypatch.setattr(left_checks, "LONGEST_LOOK", timedelta(0))
    assert tick() is None
    instance.report_run_failed(backfill)
    assert tick()


def test_checks_that_were_evaluated_while_a_backfill_ran_are_asked_for_when_it_has_ended(
    tick: Tick,
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
    connection: Connection,
    every_check: set[dg.AssetCheckKey],
) -> None:
    """The backfill's marks are newer than what the hour's checks have found meanwhile."""
    tags = {
        LOCK_TAG: lock_space(connection),
        **range_tags(days_ago(10), today()),
    }
    run = instance.create_run_for_job(
        defs.resolve_implicit_global_asset_job_def(),
        asset_selection=frozenset([ROLLUP]),
        tags=tags,
        status=dg.DagsterRunStatus.STARTED,
    )
    assert run.job_name == UI_JOB
    for key in every_check:
        found = dg.AssetCheckEvaluation(asset_key=key.asset_key, check_name=key.name, passed=True)
        instance.report_runless_asset_event(found)
    assert tick() is None, "it runs"
    instance.report_run_failed(run)
    asked = {key for key in every_check if key.asset_key in (ROLLUP, load_names().key(RAW_EVENTS))}
    assert tick() == asked
    for key in asked:
        found = dg.AssetCheckEvaluation(asset_key=key.asset_key, check_name=key.name, passed=True)
        instance.report_runless_asset_event(found)
    assert tick() is None


def test_checks_that_were_never_evaluated_are_asked_for_when_a_backfill_has_ended(
    tick: Tick, instance: dg.DagsterInstance, defs: dg.Definitions, connection: Connection
) -> None:
    """As in a new installation, whose first builds are a backfill in the UI."""
    run = instance.create_run_for_job(
        defs.resolve_implicit_global_asset_job_def(),
        asset_selection=frozenset([ROLLUP]),
        tags={LOCK_TAG: lock_space(connection), **range_tags(days_ago(10), today())},
        status=dg.DagsterRunStatus.STARTED,
    )
    instance.report_run_failed(run)
    asked = tick()
    assert asked
    assert {key.asset_key for key in asked} == {ROLLUP, load_names().key(RAW_EVENTS)}
