"""Starts the retention by itself if the nightly run ended before its own was done.

The retention is the last step of the nightly run. If yesterday cannot be built, or if the run is
killed, Dagster skips this step, and a rollup that stays broken would keep raw events of all days
past their time. The retention needs no nightly run: it proves each day itself (requirement 9.2).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg

from signal_pipeline.dagster.names import (
    EXPIRED_RAW_EVENTS,
    NIGHTLY_JOB,
    RETENTION_JOB,
    RETENTION_SENSOR,
    Names,
)
from signal_pipeline.dagster.resources.postgres_resource import PostgresResource
from signal_pipeline.dagster.runs import OwnRuns, own_location, running_and_failed

TICK_SECONDS = 60
# Dagster tries a run that was killed again within seconds. That run gets to its retention itself.
RETRY_PAUSE = timedelta(minutes=2)


def build_retention_sensor(names: Names) -> dg.SensorDefinition:
    """Return the sensor that makes up for the retention of a failed nightly run."""

    @dg.sensor(
        name=names.named(RETENTION_SENSOR),
        job_name=names.named(RETENTION_JOB),
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Starts the retention by itself if the nightly run failed before its own retention was"
            " done: two minutes after the failure, and once a day."
        ),
    )
    def retention_sensor(
        context: dg.SensorEvaluationContext, postgres: PostgresResource
    ) -> dg.SensorResult | dg.SkipReason:
        now = datetime.now(UTC)
        with postgres.connect() as connection:
            ours = OwnRuns.seen_by(connection, names, own_location(context))
            running, failed = running_and_failed(
                context.instance, connection, ours, names.named(NIGHTLY_JOB), _midnight(now)
            )
        # A time after now was recorded while a clock was ahead.
        ends = [end for each in failed if (end := each.update_timestamp.astimezone(UTC)) <= now]
        if not ends:
            return dg.SkipReason("no nightly run has failed today")
        if running or now < max(ends) + RETRY_PAUSE:
            return dg.SkipReason("the nightly run goes on, or Dagster may try it again")
        if _was_done(context.instance, names, now):
            return dg.SkipReason("the nightly run has failed, but today's retention is done")
        if _was_started(context.instance, ours, now):
            return dg.SkipReason("the retention was started by itself today, and not again")
        return dg.SensorResult([dg.RunRequest(run_key=str(now.date()))])

    return retention_sensor


def _midnight(now: datetime) -> datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def _was_done(instance: dg.DagsterInstance, names: Names, now: datetime) -> bool:
    """Return whether a run, of whatever job, has brought today's retention to its end."""
    last = instance.get_latest_materialization_event(names.key(EXPIRED_RAW_EVENTS))
    return last is not None and _midnight(now).timestamp() <= last.timestamp <= now.timestamp()


def _was_started(instance: dg.DagsterInstance, ours: OwnRuns, now: datetime) -> bool:
    job, since = ours.names.named(RETENTION_JOB), _midnight(now)
    return bool(
        ours.records(instance, limit=1, job_name=job, created_after=since, created_before=now)
    )
