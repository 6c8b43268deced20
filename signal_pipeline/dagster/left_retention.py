"""Starts the retention by itself if the nightly run failed before its own was done.

The retention is the last step of the nightly run. If yesterday cannot be built, or if the run is
killed, Dagster skips this step, and a rollup that stays broken would keep raw events of all days
past their time. The retention needs no nightly run: it proves each day itself (requirement 9.2).
A person who cancels the nightly run wants it to stop, so a cancelled run is not made up for.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg

from signal_pipeline.dagster.names import (
    CHECKS_JOB,
    EXPIRED_RAW_EVENTS,
    LEFT_CHECKS_JOB,
    NIGHTLY_JOB,
    RETENTION_JOB,
    RETENTION_SENSOR,
    Names,
)
from signal_pipeline.dagster.resources.postgres_resource import PostgresResource
from signal_pipeline.dagster.runs import OwnRuns, ended_at, own_location, running_and_failed
from signal_pipeline.postgres.database import Connection

TICK_SECONDS = 60
# Dagster tries a run that was killed again within seconds. That run gets to its retention itself.
RETRY_PAUSE = timedelta(minutes=2)
MOST_TRIES = 3
# A check that reads the raw events of a day keeps the retention from dropping them.
AWAITED_JOBS = (RETENTION_JOB, LEFT_CHECKS_JOB, CHECKS_JOB)
# A run that is older than this is not awaited: one that never gets to start can stay for ever.
LONGEST_WAIT = timedelta(days=1)
# A failure so long before midnight still counts after midnight: its pause, or the runs that are
# awaited, can end then.
EVENING = timedelta(hours=1)


def build_retention_sensor(names: Names) -> dg.SensorDefinition:
    """Return the sensor that makes up for the retention of a failed nightly run."""

    @dg.sensor(
        name=names.named(RETENTION_SENSOR),
        job_name=names.named(RETENTION_JOB),
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Starts the retention by itself if the nightly run failed before its own retention was"
            " done: two minutes after the failure, when no checks run. Tries at most three times a"
            " day."
        ),
    )
    def retention_sensor(
        context: dg.SensorEvaluationContext, postgres: PostgresResource
    ) -> dg.SensorResult | dg.SkipReason:
        with postgres.connect() as connection:
            ours = OwnRuns.seen_by(connection, names, own_location(context))
            return _retention_request(context.instance, connection, ours, datetime.now(UTC))

    return retention_sensor


def _retention_request(
    instance: dg.DagsterInstance, connection: Connection, ours: OwnRuns, now: datetime
) -> dg.SensorResult | dg.SkipReason:
    """Ask for a run of the retention, or say why none is due.

    What counts is the UTC date of the last failure: the retention is done if a run has brought it
    to its end since that date began.
    """
    since = _midnight(now) - EVENING
    night = ours.names.named(NIGHTLY_JOB)
    running, ended = running_and_failed(instance, connection, ours, night, since)
    # A time after now was recorded while a clock was ahead.
    ends = {ended_at(each): each.dagster_run.status for each in ended}
    last = max((end for end in ends if since <= end <= now), default=None)
    if last is None:
        return dg.SkipReason("no nightly run has failed today")
    if ends[last] == dg.DagsterRunStatus.CANCELED:
        return dg.SkipReason("the nightly run was cancelled, so its retention is not made up for")
    if _is_awaited(running, now) or now < last + RETRY_PAUSE:
        return dg.SkipReason("the nightly run goes on, or Dagster may try it again")
    if _was_done(instance, ours.names, _midnight(last), now):
        return dg.SkipReason("the nightly run has failed, but the day's retention is done")
    for job in map(ours.names.named, AWAITED_JOBS):
        running, _ = running_and_failed(instance, connection, ours, job, since)
        if _is_awaited(running, now):
            return dg.SkipReason(f"the retention waits for a run of {job}")
    return _next_try(instance, ours, _midnight(last), now)


def _next_try(
    instance: dg.DagsterInstance, ours: OwnRuns, day: datetime, now: datetime
) -> dg.SensorResult | dg.SkipReason:
    """Ask for the next try since `day` began, unless there were enough or a person cancelled one.

    Runs that a person started count as well. The number is in the run key, since Dagster drops a
    request whose key a run has already.
    """
    job = ours.names.named(RETENTION_JOB)
    tries = ours.records(instance, job_name=job, created_after=day, created_before=now)
    if any(each.dagster_run.status == dg.DagsterRunStatus.CANCELED for each in tries):
        return dg.SkipReason(f"a run of {job} was cancelled today, so no other is started")
    if len(tries) >= MOST_TRIES:
        return dg.SkipReason(f"{len(tries)} runs of {job} were started today, so no other is")
    ends = [end for each in tries if (end := ended_at(each)) <= now]
    if ends and now < max(ends) + RETRY_PAUSE:
        return dg.SkipReason(f"a run of {job} was started today: the next one waits a little")
    return dg.SensorResult([dg.RunRequest(run_key=f"{day.date()}-{len(tries) + 1}")])


def _midnight(time: datetime) -> datetime:
    return time.replace(hour=0, minute=0, second=0, microsecond=0)


def _is_awaited(running: list[dg.RunRecord], now: datetime) -> bool:
    return any(abs(now - each.create_timestamp.astimezone(UTC)) < LONGEST_WAIT for each in running)


def _was_done(instance: dg.DagsterInstance, names: Names, day: datetime, now: datetime) -> bool:
    """Return whether a run, of whatever job, has completed the retention since `day` began."""
    last = instance.get_latest_materialization_event(names.key(EXPIRED_RAW_EVENTS))
    return last is not None and day.timestamp() <= last.timestamp <= now.timestamp()
