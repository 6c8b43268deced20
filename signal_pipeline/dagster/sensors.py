"""Sensors that start runs: they ask PostgreSQL and the landing what is to be done, at each tick
anew.

Belongs here: the run requests, and why a tick asks for none. Which days, and when:
`due_builds.py`. What Dagster knows: `runs.py`.
"""

import json
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime

import dagster as dg

from signal_pipeline.dagster.due_builds import (
    ATTEMPTS_WINDOW,
    MAX_ATTEMPTS,
    RangeRequest,
    backoff,
    given_up,
    range_requests,
)
from signal_pipeline.dagster.names import (
    LANDING_SENSOR,
    RAW_EVENTS_JOB,
    ROLLUPS_JOB,
    STALE_ROLLUPS_SENSOR,
    Names,
)
from signal_pipeline.dagster.partitions import daily_partitions
from signal_pipeline.dagster.resources.postgres_resource import PostgresResource
from signal_pipeline.dagster.runs import (
    MODELS_TAG,
    ONLY_STALE_TAG,
    Ours,
    days_of,
    failed_days,
    failures_in_a_row,
    models_digest,
    own_location,
    range_tags,
    running_and_failed,
)
from signal_pipeline.days.calendar import today_utc
from signal_pipeline.days.freshness import DayStatus, day_statuses
from signal_pipeline.ingest.landing import marks_of_landed
from signal_pipeline.rollups.models import Model
from signal_pipeline.settings import load_settings

TICK_SECONDS = 5
COUNTED_FAILURES = 10  # Beyond these the back-off does not grow.


def landing_sensor_of(names: Names) -> dg.SensorDefinition:
    """The sensor that has landed files ingested."""

    @dg.sensor(
        name=names.named(LANDING_SENSOR),
        job_name=names.named(RAW_EVENTS_JOB),
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Starts a run when a file waits in the landing; after a failed run it waits longer each"
            " time."
        ),
    )
    def landing_sensor(
        context: dg.SensorEvaluationContext, postgres: PostgresResource
    ) -> dg.SensorResult | dg.SkipReason:
        return _landing_request(context, postgres, names)

    return landing_sensor


def _landing_request(
    context: dg.SensorEvaluationContext, postgres: PostgresResource, names: Names
) -> dg.SensorResult | dg.SkipReason:
    """One run at a time drains all that waits; the counter in the key lets the same file ask again.

    What came after the last run was asked for does not wait behind what failed; what only changed
    does.
    """
    files = marks_of_landed(load_settings().landing_path)
    if not files:
        return dg.SkipReason("the landing is empty")
    now, job = datetime.now(UTC), names.named(RAW_EVENTS_JOB)
    with postgres.connect() as connection:
        ours = Ours.seen_by(connection, names, own_location(context))
        running, _ = running_and_failed(
            context.instance, connection, ours, job, now - ATTEMPTS_WINDOW
        )
    if running:
        return dg.SkipReason(f"{len(files)} file(s) wait for the run in flight")
    failures = failures_in_a_row(context.instance, ours, job, COUNTED_FAILURES)
    asked, known = _asked_before(context.cursor)
    if (
        failures
        and now < (again := failures[0] + backoff(len(failures)))
        and (known is None or files <= known)
    ):
        why = (
            f"{len(files)} file(s) wait: the last {len(failures)} run(s) of {job} failed, the next"
            f" is at {again:%H:%M:%S} UTC"
        )
        return dg.SensorResult(
            skip_reason=dg.SkipReason(why), cursor=_cursor(asked, files if known is None else known)
        )
    request = dg.RunRequest(run_key=f"landing-{asked + 1}", partition_key=str(today_utc()))
    return dg.SensorResult(run_requests=[request], cursor=_cursor(asked + 1, files))


def _asked_before(cursor: str | None) -> tuple[int, set[str] | None]:
    """How often the landing sensor has asked, and the marks of what waited then; None where that is
    not known.

    Before marks were kept the cursor was the number alone.
    """
    value = json.loads(cursor or "0")
    return (value, None) if isinstance(value, int) else (value["asked"], set(value["marks"]))


def _cursor(asked: int, marks: Collection[str]) -> str:
    return json.dumps({"asked": asked, "marks": sorted(marks)})


def stale_rollups_sensor_of(models: Mapping[str, Model], names: Names) -> dg.SensorDefinition:
    """The sensor that keeps every rollup of every open day fresh."""
    checksums = {name: model.checksum for name, model in models.items()}
    job = names.named(ROLLUPS_JOB)

    @dg.sensor(
        name=names.named(STALE_ROLLUPS_SENSOR),
        job_name=job,
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Asks PostgreSQL which days have stale rollups, and starts few bounded runs for them."
        ),
    )
    def stale_rollups_sensor(
        context: dg.SensorEvaluationContext, postgres: PostgresResource
    ) -> dg.SensorResult | dg.SkipReason:
        stale = _stale_days(postgres, checksums)
        if not stale:
            return dg.SkipReason("every rollup is fresh")
        now = datetime.now(UTC)
        with postgres.connect() as connection:
            ours = Ours.seen_by(connection, names, own_location(context))
            running, ended = running_and_failed(
                context.instance, connection, ours, job, now - ATTEMPTS_WINDOW
            )
        failed = failed_days(ended, models)
        taken = [days for run in running if (days := days_of(run))]
        requests = range_requests(stale, taken, failed, now)
        if not requests:
            return dg.SkipReason(_why_not(stale, given_up(stale, failed)))
        asked = int(context.cursor or 0) + 1
        digest = models_digest(models)
        return dg.SensorResult(
            [_run_request(request, names, asked, digest) for request in requests], cursor=str(asked)
        )

    return stale_rollups_sensor


def _stale_days(postgres: PostgresResource, checksums: Mapping[str, str]) -> list[DayStatus]:
    first = date.fromisoformat(daily_partitions.get_first_partition_key() or str(today_utc()))
    with postgres.connect() as connection:
        return [
            status
            for status in day_statuses(connection, checksums, first, today_utc())
            if status.wants_build
        ]


def _why_not(stale: list[DayStatus], hopeless: list[date]) -> str:
    text = f"{len(stale)} stale day(s): in flight, pausing or backing off"
    if not hopeless:
        return text
    days = ", ".join(map(str, hopeless[:5]))
    return (
        f"{text}; {len(hopeless)} failed {MAX_ATTEMPTS} times and rest for a day or until they"
        f" change: {days}"
    )


def _run_request(request: RangeRequest, names: Names, asked: int, digest: str) -> dg.RunRequest:
    # The counter stands in the key since Dagster never runs a key twice: facts may repeat after a
    # manual change.
    return dg.RunRequest(
        run_key=f"{request.key}#{asked}",
        asset_selection=[names.key(name) for name in request.rollups],
        asset_check_keys=[],
        tags={
            **range_tags(request.days[0], request.days[-1]),
            ONLY_STALE_TAG: "true",
            MODELS_TAG: digest,
        },
    )
