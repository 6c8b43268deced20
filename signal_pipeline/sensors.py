"""Sensors: they ask PostgreSQL and the landing what is to be done, at each tick anew.

Belongs here: what Dagster knows (runs in flight, failed runs) and the run requests. Which days, and when: `staleness.py`.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import cast

import dagster as dg

from signal_pipeline.assets.raw_events import RAW_EVENTS, profile_metadata
from signal_pipeline.assets.rollups import ONLY_STALE_TAG
from signal_pipeline.jobs import RAW_EVENTS_JOB, ROLLUPS_JOB
from signal_pipeline.landing import landed_files
from signal_pipeline.partitions import daily_partitions
from signal_pipeline.resources.postgres import PostgresResource
from signal_pipeline.rollups.models import Model
from signal_pipeline.settings import load_settings
from signal_pipeline.staleness import Candidate, FailedRun, RangeRequest, range_requests
from signal_pipeline.store.database import Connection, sql
from signal_pipeline.store.days import today_utc
from signal_pipeline.store.freshness import day_statuses
from signal_pipeline.store.profile import day_profile

TICK_SECONDS = 5
RANGE_START_TAG, RANGE_END_TAG = (
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)
IN_FLIGHT = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
FAILED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def in_flight(instance: dg.DagsterInstance, job: str) -> list[dg.DagsterRun]:
    """The runs of a job that have not ended."""
    return list(instance.get_runs(dg.RunsFilter(job_name=job, statuses=IN_FLIGHT)))


@dg.sensor(
    name="landing_sensor",
    job_name=RAW_EVENTS_JOB,
    minimum_interval_seconds=TICK_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts a run when a file waits in the landing.",
)
def landing_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """One run at a time drains all that waits; the key changes with the files, so that a new file asks again."""
    files = landed_files(load_settings().landing_path)
    if not files:
        return dg.SkipReason("the landing is empty")
    if in_flight(context.instance, RAW_EVENTS_JOB):
        return dg.SkipReason(f"{len(files)} file(s) wait for the run in flight")
    asked = int(context.cursor or 0) + 1
    today = today_utc().isoformat()
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=f"landing-{asked}", partition_key=today)],
        cursor=str(asked),
    )


def stale_rollups_sensor_of(models: Mapping[str, Model]) -> dg.SensorDefinition:
    """The sensor that keeps every rollup of every open day fresh."""
    checksums = {name: model.checksum for name, model in models.items()}

    @dg.sensor(
        name="stale_rollups_sensor",
        job_name=ROLLUPS_JOB,
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks PostgreSQL which days have stale rollups, and starts few bounded runs for them.",
    )
    def stale_rollups_sensor(
        context: dg.SensorEvaluationContext, postgres: PostgresResource
    ) -> dg.SensorResult | dg.SkipReason:
        with postgres.connect() as connection:
            candidates = _candidates(connection, checksums)
            if not candidates:
                return dg.SkipReason("every rollup is fresh")
            requests = range_requests(
                candidates,
                [_days_of(run) for run in in_flight(context.instance, ROLLUPS_JOB)],
                _failed_runs(context.instance),
                datetime.now(UTC),
            )
            if not requests:
                return dg.SkipReason(f"{len(candidates)} stale day(s): in flight, pausing or backing off")
            asked = int(context.cursor or 0) + 1
            return dg.SensorResult(
                run_requests=[_run_request(request, asked) for request in requests],
                asset_events=list(_observed(connection, requests)),
                cursor=str(asked),
            )

    return stale_rollups_sensor


def _candidates(connection: Connection, checksums: Mapping[str, str]) -> list[Candidate]:
    first = date.fromisoformat(daily_partitions.get_first_partition_key() or str(today_utc()))
    stale = [status for status in day_statuses(connection, checksums, first, today_utc()) if status.wants_build]
    rows = connection.execute(sql("last_builds"), [[status.day for status in stale]]).fetchall()
    built = {cast(date, day): (cast(datetime, at), cast(float, seconds)) for day, at, seconds in rows}
    return [Candidate(status, *built.get(status.day, (None, 0.0))) for status in stale]


def _days_of(run: dg.DagsterRun) -> tuple[date, date]:
    single = run.tags.get("dagster/partition")
    first = run.tags.get(RANGE_START_TAG, single)
    last = run.tags.get(RANGE_END_TAG, single)
    if first is None or last is None:  # A run without a partition builds no day.
        return date.max, date.min
    return date.fromisoformat(first), date.fromisoformat(last)


def _failed_runs(instance: dg.DagsterInstance) -> list[FailedRun]:
    records = instance.get_run_records(
        dg.RunsFilter(
            job_name=ROLLUPS_JOB,
            statuses=FAILED,
            updated_after=datetime.now(UTC) - timedelta(days=1),
        )
    )
    return [FailedRun(*_days_of(record.dagster_run), record.update_timestamp) for record in records]


def _run_request(request: RangeRequest, asked: int) -> dg.RunRequest:
    # The counter stands in the key since Dagster never runs a key twice: facts may repeat after a manual change.
    return dg.RunRequest(
        run_key=f"{request.key}#{asked}",
        asset_selection=[dg.AssetKey(name) for name in request.rollups],
        asset_check_keys=[],
        tags={
            RANGE_START_TAG: str(request.days[0]),
            RANGE_END_TAG: str(request.days[-1]),
            ONLY_STALE_TAG: "true",
        },
    )


def _observed(connection: Connection, requests: list[RangeRequest]) -> Iterator[dg.AssetMaterialization]:
    """Raw days as the database has them: events of the API reach it without a run."""
    for request in requests:
        for day in request.days:
            yield dg.AssetMaterialization(
                RAW_EVENTS,
                partition=str(day),
                metadata=profile_metadata(day_profile(connection, day)),
            )


@dg.run_failure_sensor(
    name="run_failure_sensor",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Writes each failed run to the daemon's log as one line, where an operator's alerts read it.",
)
def run_failure_sensor(context: dg.RunFailureSensorContext) -> None:
    """Name the job, the run and its days; error texts stay in the run."""
    run = context.dagster_run
    first, last = _days_of(run)
    days = f" for {first}..{last}" if first <= last else ""
    context.log.error("run %s of %s failed%s: open it in the UI", run.run_id, run.job_name, days)
