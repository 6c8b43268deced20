"""Schedules. Belongs here: when a night's work is asked for. What it does: `jobs.py`."""

from datetime import timedelta

import dagster as dg

from signal_pipeline.jobs import NIGHTLY_JOB


@dg.schedule(
    name="nightly_schedule",
    cron_schedule="30 0 * * *",
    execution_timezone="UTC",
    job_name=NIGHTLY_JOB,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="00:30 UTC: yesterday's rollups and checks, then retention.",
)
def nightly_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Ask for yesterday by name: the last partition would be today, which is not over."""
    yesterday = (context.scheduled_execution_time - timedelta(days=1)).date().isoformat()
    return dg.RunRequest(run_key=yesterday, partition_key=yesterday)


default_schedules = [nightly_schedule]
