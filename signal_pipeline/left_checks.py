"""Checks that a run planned and left without a result are evaluated after it.

The UI shows such a check as skipped or failed to execute, whatever was known of it before. A backfill of several days leaves
all of its checks so, since Dagster skips them where the marks of a range are logged day by day; a run that fails or is
cancelled does too. Belongs here: which checks those are, and their run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from signal_pipeline.names import CHECKS_JOB, LEFT_CHECKS_JOB, LEFT_CHECKS_SENSOR, RAW_EVENTS, Names

TICK_SECONDS = 15


def left_checks_sensor_of(checks: Iterable[dg.AssetCheckKey], names: Names) -> dg.SensorDefinition:
    """The sensor that has them evaluated."""
    keys = sorted(checks)

    @dg.sensor(
        name=names.named(LEFT_CHECKS_SENSOR),
        job_name=names.named(LEFT_CHECKS_JOB),
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Has the checks evaluated that a backfill, or a run that failed, planned and left without a result.",
    )
    def left_checks_sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        left = left_checks(context.instance, keys, names)
        if not left:
            return dg.SkipReason("no check was left without a result")
        # Builds mark the raw events too, so that what was found of them no longer counts as known.
        wanted = [key for key in keys if key in left or key.asset_key == names.key(RAW_EVENTS)]
        return dg.RunRequest(asset_check_keys=wanted)

    return left_checks_sensor


def left_checks(instance: dg.DagsterInstance, keys: Iterable[dg.AssetCheckKey], names: Names) -> set[dg.AssetCheckKey]:
    """The checks whose newest record is a plan of a run that has ended or was deleted; none while such a run is in flight.

    What a run of checks alone left is not tried again here: it would fail again at once. The next hour or night does it.
    """
    newest = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(keys))
    planned = {key: record.run_id for key, record in newest.items() if record.status.value == "PLANNED"}
    runs = _runs(instance, planned)
    if any(not run.is_finished for run in runs.values()):
        return set()
    alone = {names.named(CHECKS_JOB), names.named(LEFT_CHECKS_JOB)}
    return {key for key, run_id in planned.items() if run_id not in runs or runs[run_id].job_name not in alone}


def _runs(instance: dg.DagsterInstance, planned: Mapping[Any, str]) -> dict[str, dg.DagsterRun]:
    if not planned:
        return {}
    runs = instance.get_runs(dg.RunsFilter(run_ids=sorted(set(planned.values()))))
    return {run.run_id: run for run in runs}
