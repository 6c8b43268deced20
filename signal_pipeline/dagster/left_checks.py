"""Evaluates the checks that a backfill or an interrupted run left without a result.

A run over a range marks its days one by one, and Dagster skips the checks of such a run. It also
does not evaluate the checks of a run that fails or is cancelled. The UI then shows these checks as
skipped or unknown, whatever their last result was. This module finds them and asks for a run that
evaluates them.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from signal_pipeline.dagster.names import (
    CHECKS_JOB,
    LEFT_CHECKS_JOB,
    LEFT_CHECKS_SENSOR,
    RAW_EVENTS,
    Names,
)
from signal_pipeline.dagster.resources.postgres_resource import PostgresResource
from signal_pipeline.dagster.runs import FAILED, IN_FLIGHT, RANGE_START_TAG, OwnRuns, own_location

TICK_SECONDS = 15
PAUSE_SECONDS = 900  # How long a check rests after its evaluation failed.
# Dagster's name for the job of runs that start from assets, in the UI or by a backfill.
UI_JOB = "__ASSET_JOB"
# Runs of several days that were last updated longer ago than this are not looked for. The hourly
# checks have run since then, and the other checks run at night.
LONGEST_LOOK = timedelta(hours=2)


def build_left_checks_sensor(
    checks: Iterable[dg.AssetCheckKey], names: Names
) -> dg.SensorDefinition:
    """Return the sensor that starts a run of these checks."""
    keys = sorted(checks)

    @dg.sensor(
        name=names.named(LEFT_CHECKS_SENSOR),
        job_name=names.named(LEFT_CHECKS_JOB),
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Starts a run of the checks that a backfill or an interrupted run left without a"
            " result."
        ),
    )
    def left_checks_sensor(
        context: dg.SensorEvaluationContext, postgres: PostgresResource
    ) -> dg.RunRequest | dg.SkipReason:
        with postgres.connect() as connection:
            ours = OwnRuns.seen_by(connection, names, own_location(context))
        left = left_checks(context.instance, ours, keys)
        if not left:
            return dg.SkipReason("no check was left without a result")
        # A build also marks the raw events as materialized. Dagster then counts the results of all
        # checks of the raw events as outdated, so all these checks are evaluated again.
        wanted = [key for key in keys if key in left or key.asset_key == names.key(RAW_EVENTS)]
        return dg.RunRequest(asset_check_keys=wanted)

    return left_checks_sensor


def left_checks(
    instance: dg.DagsterInstance, ours: OwnRuns, keys: Collection[dg.AssetCheckKey]
) -> set[dg.AssetCheckKey]:
    """Return the checks that must be evaluated again.

    A check must be evaluated again if a run planned it and did not evaluate it. If a run of several
    days built an asset, the checks of this asset must be evaluated again too, unless they were
    evaluated after that run ended. A check whose evaluation has just failed is left out. Returns an
    empty set while a run that planned checks, or a run of several days, is in flight.
    """
    newest = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(keys))
    planned = {
        key: record.run_id for key, record in newest.items() if record.status.value == "PLANNED"
    }
    runs = _runs(instance, planned.values())
    if any(not run.is_finished for run in runs.values()) or _ranges(
        instance, ours, IN_FLIGHT, None
    ):
        return set()
    # If a run of nothing but checks left a check without a result, the evaluation of this check
    # failed. It would fail again if it were repeated at once, so the check rests for PAUSE_SECONDS.
    jobs_of_checks = set(map(ours.names.named, (CHECKS_JOB, LEFT_CHECKS_JOB)))
    recent = time.time() - PAUSE_SECONDS
    resting = {
        key
        for key, run_id in planned.items()
        if run_id in runs
        and runs[run_id].job_name in jobs_of_checks
        and newest[key].create_timestamp > recent
    }
    left = set(planned)
    since = datetime.now(UTC) - LONGEST_LOOK
    for record in _ranges(instance, ours, [dg.DagsterRunStatus.SUCCESS, *FAILED], since):
        built, ended_at = record.dagster_run.asset_selection or (), record.end_time or 0
        left |= {
            key
            for key in keys
            if key.asset_key in built
            and (
                (last := newest.get(key)) is None
                or (last.event and last.event.timestamp < ended_at)
            )
        }
    return left - resting


def _ranges(
    instance: dg.DagsterInstance,
    ours: OwnRuns,
    statuses: Collection[dg.DagsterRunStatus],
    since: datetime | None,
) -> list[dg.RunRecord]:
    """Return our runs of several days that Dagster's UI or backfill started.

    With `since`, return only those that were updated after this time. Runs of a command, such as
    `signal-pipeline backfill`, or of a sensor are left out, because they plan no checks.
    """
    found = ours.records(instance, job_name=UI_JOB, statuses=list(statuses), updated_after=since)
    return [
        each
        for each in found
        if RANGE_START_TAG in each.dagster_run.tags and ours.includes(each.dagster_run)
    ]


def _runs(instance: dg.DagsterInstance, run_ids: Iterable[str]) -> dict[str, Any]:
    wanted = sorted(set(run_ids))
    return (
        {run.run_id: run for run in instance.get_runs(dg.RunsFilter(run_ids=wanted))}
        if wanted
        else {}
    )
