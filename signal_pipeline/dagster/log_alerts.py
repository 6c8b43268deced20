"""The alerts in the daemon's log: one line for each fault that a person must look at.

An operator's log monitoring can find these lines. This module writes the lines about failed runs
and red checks. Error texts stay in the run, and no line holds a value of an event.
"""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from signal_pipeline.dagster.names import (
    CHECKS_JOB,
    LEFT_CHECKS_JOB,
    NIGHTLY_JOB,
    RED_CHECKS_SENSOR,
    RETENTION_JOB,
    RUN_FAILURE_SENSOR,
    Names,
)
from signal_pipeline.dagster.runs import (
    CATCH_UP_TAG,
    days_by_rollups,
    days_of,
    named_days,
    what_failed,
)


def build_run_failure_sensor(names: Names) -> dg.SensorDefinition:
    """Return the sensor that writes failed runs to the log."""

    @dg.run_failure_sensor(
        name=names.named(RUN_FAILURE_SENSOR),
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Writes each failed run to the daemon's log as one line.",
    )
    def run_failure_sensor(context: dg.RunFailureSensorContext) -> None:
        """Write one line that names the job, the run and its days."""
        context.log.error("%s", failure_line(context.dagster_run))

    return run_failure_sensor


def failure_line(run: dg.DagsterRun) -> str:
    """Return one line about a failed run."""
    missed = (
        "; the checks and the retention that it did not reach are to get runs of their own"
        if CATCH_UP_TAG in run.tags
        else ""
    )
    return (
        f"run {run.run_id} of {run.job_name} failed for {_days_at_fault(run)}{missed}: open it in"
        " the UI"
    )


def _days_at_fault(run: dg.DagsterRun) -> str:
    span = days_of(run)
    if not named_days(run):
        return f"{span[0]}..{span[1]}" if span else "no day"
    return ", ".join(
        ",".join(map(str, days)) + (f" ({', '.join(names)})" if names else "")
        for names, days in days_by_rollups(what_failed(run)).items()
    )


def build_red_checks_sensor(
    names: Names, jobs: Iterable[dg.UnresolvedAssetJobDefinition]
) -> dg.SensorDefinition:
    """Return the sensor that writes red checks to the log.

    A red check does not fail its run, so it holds nothing up. `jobs` are all jobs; the sensor looks
    at the runs of those that evaluate checks.
    """
    jobs_with_checks = (NIGHTLY_JOB, RETENTION_JOB, CHECKS_JOB, LEFT_CHECKS_JOB)
    with_checks = set(map(names.named, jobs_with_checks))

    @dg.run_status_sensor(
        run_status=dg.DagsterRunStatus.SUCCESS,
        name=names.named(RED_CHECKS_SENSOR),
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        monitored_jobs=[job for job in jobs if job.name in with_checks],
        monitor_all_code_locations=False,
        description="Writes each check that a successful run found red with severity ERROR to the"
        " daemon's log as one line.",
    )
    def red_checks_sensor(context: dg.RunStatusSensorContext) -> None:
        """Write one line for each red check of the run.

        It returns nothing. One tick can call it for several runs, and a SkipReason would end the
        tick. If the tick had already handled another run, Dagster would refuse the SkipReason: the
        tick would fail, be repeated, and fail again.
        """
        for line in red_checks(context.instance, context.dagster_run.run_id):
            context.log.error("%s", line)

    return red_checks_sensor


def red_checks(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """Return one line for each check that a run found red with severity ERROR.

    Each line says what to do.
    """
    lines = []
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        event = entry.dagster_event
        found = event.asset_check_evaluation_data if event else None
        if found and not found.passed and found.severity == dg.AssetCheckSeverity.ERROR:
            lines.append(
                f"check {found.check_name} of {found.asset_key.to_user_string()} is red:"
                f" {found.description}"
            )
    return lines
