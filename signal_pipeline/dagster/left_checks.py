"""Checks that a backfill, or a run that broke off, left without a result are evaluated after it.

Dagster skips the checks of a run whose days are marked one by one, as those of a range are; it
never comes to those of a run that fails or is cancelled. The UI then shows them as skipped or
unknown, whatever was found before. Belongs here: which checks those are, and their run.
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
from signal_pipeline.dagster.runs import FAILED, IN_FLIGHT, RANGE_START_TAG, Ours, own_location

TICK_SECONDS = 15
PAUSE_SECONDS = 900  # Between two runs of checks that failed.
# What Dagster calls the job of runs that start from assets, in the UI or by a backfill.
UI_JOB = "__ASSET_JOB"
LONGEST_LOOK = timedelta(hours=2)  # The hour's checks have come round by then.


def left_checks_sensor_of(checks: Iterable[dg.AssetCheckKey], names: Names) -> dg.SensorDefinition:
    """The sensor that has them evaluated."""
    keys = sorted(checks)

    @dg.sensor(
        name=names.named(LEFT_CHECKS_SENSOR),
        job_name=names.named(LEFT_CHECKS_JOB),
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Has the checks evaluated that a backfill, or a run that broke off, left without a"
            " result."
        ),
    )
    def left_checks_sensor(
        context: dg.SensorEvaluationContext, postgres: PostgresResource
    ) -> dg.RunRequest | dg.SkipReason:
        with postgres.connect() as connection:
            ours = Ours.seen_by(connection, names, own_location(context))
        left = left_checks(context.instance, ours, keys)
        if not left:
            return dg.SkipReason("no check was left without a result")
        # Builds mark the raw events too, so that what was found of them no longer counts as known.
        wanted = [key for key in keys if key in left or key.asset_key == names.key(RAW_EVENTS)]
        return dg.RunRequest(asset_check_keys=wanted)

    return left_checks_sensor


def left_checks(
    instance: dg.DagsterInstance, ours: Ours, keys: Collection[dg.AssetCheckKey]
) -> set[dg.AssetCheckKey]:
    """The checks that no run has evaluated since a run that planned them ended; none while such a
    run is in flight.
    """
    newest = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(keys))
    planned = {
        key: record.run_id for key, record in newest.items() if record.status.value == "PLANNED"
    }
    runs = _runs(instance, planned.values())
    if any(not run.is_finished for run in runs.values()) or _ranges(instance, ours, IN_FLIGHT):
        return set()
    # What a run of checks alone left would fail again at once.
    alone = set(map(ours.names.named, (CHECKS_JOB, LEFT_CHECKS_JOB)))
    recent = time.time() - PAUSE_SECONDS
    resting = {
        key
        for key, run_id in planned.items()
        if run_id in runs
        and runs[run_id].job_name in alone
        and newest[key].create_timestamp > recent
    }
    left = set(planned)
    for record in _ranges(instance, ours, [dg.DagsterRunStatus.SUCCESS, *FAILED]):
        left |= {
            key
            for key, last in newest.items()
            if key.asset_key in (record.dagster_run.asset_selection or ())
            and last.event
            and last.event.timestamp < (record.end_time or 0)
        }
    return left - resting


def _ranges(
    instance: dg.DagsterInstance, ours: Ours, statuses: Collection[dg.DagsterRunStatus]
) -> list[dg.RunRecord]:
    """Our runs of several days that somebody asked for in the UI, of late; a command's and a
    sensor's plan no checks.
    """
    since = datetime.now(UTC) - LONGEST_LOOK
    found = ours.records(instance, job_name=UI_JOB, statuses=list(statuses), updated_after=since)
    return [
        each
        for each in found
        if RANGE_START_TAG in each.dagster_run.tags and ours.own(each.dagster_run)
    ]


def _runs(instance: dg.DagsterInstance, run_ids: Iterable[str]) -> dict[str, Any]:
    wanted = sorted(set(run_ids))
    return (
        {run.run_id: run for run in instance.get_runs(dg.RunsFilter(run_ids=wanted))}
        if wanted
        else {}
    )
