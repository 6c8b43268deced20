"""The schedules: what the clock starts, and when. What a job does is in `jobs.py`."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg

from signal_pipeline.dagster.names import (
    CHECKS_JOB,
    CHECKS_SCHEDULE,
    EXPIRED_RAW_EVENTS,
    NIGHTLY_JOB,
    NIGHTLY_SCHEDULE,
    PRUNING_JOB,
    PRUNING_SCHEDULE,
    RAW_EVENTS,
    USAGE_REPORT_JOB,
    USAGE_REPORT_SCHEDULE,
    Names,
)
from signal_pipeline.dagster.resources.postgres_resource import PostgresResource
from signal_pipeline.dagster.runs import OwnRuns
from signal_pipeline.days.calendar import installed_day
from signal_pipeline.days.freshness import day_statuses
from signal_pipeline.days.profile import dropped_since
from signal_pipeline.errors import SignalError
from signal_pipeline.ingest.landing import changed_at
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import load_settings

RUNNING = dg.DefaultScheduleStatus.RUNNING


def build_nightly_schedule(models: Models, names: Names) -> dg.ScheduleDefinition:
    """Return the schedule that starts the nightly job."""

    @dg.schedule(
        name=names.named(NIGHTLY_SCHEDULE),
        cron_schedule="30 0 * * *",
        execution_timezone="UTC",
        job_name=names.named(NIGHTLY_JOB),
        default_status=RUNNING,
        description=(
            "00:30 UTC: drains the landing, builds the rollups of yesterday and of days that"
            " earlier nightly runs missed, then evaluates the checks, then runs the retention and"
            " its own checks."
        ),
    )
    def nightly_schedule(
        context: dg.ScheduleEvaluationContext, postgres: PostgresResource
    ) -> dg.RunRequest:
        """Ask for yesterday by name: the last partition would be today, which is not over."""
        yesterday = (context.scheduled_execution_time - timedelta(days=1)).date()
        builds_none = _is_before_installation(postgres, models, yesterday)
        return dg.RunRequest(
            run_key=yesterday.isoformat(),
            partition_key=yesterday.isoformat(),
            asset_selection=[names.key(RAW_EVENTS), names.key(EXPIRED_RAW_EVENTS)]
            if builds_none
            else None,
        )

    return nightly_schedule


def _is_before_installation(postgres: PostgresResource, models: Models, day: date) -> bool:
    """Return whether a day is from before the installation, and has no row.

    Nobody recorded the events of such a day. A build would store zeros, but the day is unknown.
    """
    try:
        with postgres.connect() as connection:
            return day < installed_day(connection) and not day_statuses(
                connection, models.checksums, day, day
            )
    except SignalError:
        # No alert tells of a tick that failed, and nothing makes up for it that night. So the whole
        # run is asked for: if it fails too, it says what is wrong, and people are told.
        return False


def build_checks_schedule(models: Models, names: Names) -> dg.ScheduleDefinition:
    """Return the schedule that evaluates the checks hourly if something changed, except at 00:15.

    At 00:30 the nightly run evaluates every check. Before that run, yesterday need not be built,
    and days that have just become due are not purged.
    """

    @dg.schedule(
        name=names.named(CHECKS_SCHEDULE),
        cron_schedule="15 1-23 * * *",
        execution_timezone="UTC",
        job_name=names.named(CHECKS_JOB),
        default_status=RUNNING,
        description=(
            "Each hour from 01:15 to 23:15 UTC: every check except those that count all raw events."
            " Skipped if nothing changed since the last evaluation: no event came or was dropped,"
            " the landing is as it was, no day was built, and none waits for its build."
        ),
    )
    def checks_schedule(
        context: dg.ScheduleEvaluationContext, postgres: PostgresResource
    ) -> dg.RunRequest | dg.SkipReason:
        with postgres.connect() as connection:
            ours = OwnRuns.seen_by(connection, names)
            last = _last_start(context.instance, ours, datetime.now(UTC))
            statuses = day_statuses(connection, models.checksums)
            # If all events are dropped, nothing else changes.
            dropped = dropped_since(connection, last)
        landed = changed_at(load_settings().landing_path)
        changed = any(
            status.wants_build or last < max(status.changed_at, status.built_at or last)
            for status in statuses
        )
        if dropped or changed or (landed is not None and last < landed):
            return dg.RunRequest(run_key=context.scheduled_execution_time.isoformat())
        return dg.SkipReason("nothing changed since the last checks")

    return checks_schedule


def _last_start(instance: dg.DagsterInstance, ours: OwnRuns, now: datetime) -> datetime:
    """Return when our checks were last started, by the hourly or the nightly job.

    Only successful runs count. They are known to be ours, because a run that succeeded has taken
    its lock and with it the tag that names our database. A start after `now` was recorded while a
    clock was ahead: its true time is not known, so it does not count.
    """
    found = [
        start
        for job in (CHECKS_JOB, NIGHTLY_JOB)
        for record in ours.records(
            instance,
            limit=1,
            job_name=ours.names.named(job),
            statuses=[dg.DagsterRunStatus.SUCCESS],
        )
        if (start := record.create_timestamp.astimezone(UTC)) <= now
    ]
    return max(found, default=datetime.min.replace(tzinfo=UTC))


def build_pruning_schedule(names: Names) -> dg.ScheduleDefinition:
    """Return the schedule that keeps Dagster's storage bounded."""
    return dg.ScheduleDefinition(
        name=names.named(PRUNING_SCHEDULE),
        cron_schedule="45 1 * * *",
        execution_timezone="UTC",
        job_name=names.named(PRUNING_JOB),
        default_status=RUNNING,
        description=(
            "01:45 UTC: deletes Signal's old logs, runs and ticks from Dagster's storage. The state"
            " of each partition stays."
        ),
    )


def build_usage_report_schedule(
    names: Names, weeks: dg.WeeklyPartitionsDefinition
) -> dg.ScheduleDefinition:
    """Return the schedule that has the page of the last ISO week written."""

    @dg.schedule(
        name=names.named(USAGE_REPORT_SCHEDULE),
        cron_schedule="30 2 * * 1",
        execution_timezone="UTC",
        job_name=names.named(USAGE_REPORT_JOB),
        default_status=RUNNING,
        description=(
            "Mondays, 02:30 UTC, after the nightly run: the page of the week that has ended."
        ),
    )
    def usage_report_schedule(
        context: dg.ScheduleEvaluationContext,
    ) -> dg.RunRequest | dg.SkipReason:
        """Ask for the week by name: a late tick must not write the week after."""
        at = context.scheduled_execution_time
        monday = (at - timedelta(days=at.weekday() + 7)).date()
        if monday < weeks.start.date():
            return dg.SkipReason(f"the week of {monday} began before the start date")
        return dg.RunRequest(run_key=str(monday), partition_key=str(monday))

    return usage_report_schedule


def build_schedules(
    models: Models, names: Names, weeks: dg.WeeklyPartitionsDefinition
) -> list[dg.ScheduleDefinition]:
    """Return every schedule of the project."""
    return [
        build_nightly_schedule(models, names),
        build_checks_schedule(models, names),
        build_pruning_schedule(names),
        build_usage_report_schedule(names, weeks),
    ]
