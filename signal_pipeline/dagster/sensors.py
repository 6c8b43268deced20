"""The sensors that start runs, for stale days in PostgreSQL and for files in the landing.

This module makes the run requests, and words the reasons why a tick asks for no run.
`due_builds.py` decides which days are built, and when. `runs.py` reads what Dagster knows.
"""

import json
from collections.abc import Collection
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
from signal_pipeline.dagster.resources.postgres_resource import PostgresResource
from signal_pipeline.dagster.runs import (
    EVERY_LOOK_SECONDS,
    MODELS_TAG,
    ONLY_STALE_TAG,
    OwnRuns,
    days_of,
    failed_days,
    failures_in_a_row,
    own_location,
    range_tags,
    running_and_failed,
)
from signal_pipeline.days.calendar import today_utc
from signal_pipeline.days.freshness import DayStatus, day_statuses
from signal_pipeline.errors import SignalError
from signal_pipeline.ingest.landing import landed_files, marks_of_landed
from signal_pipeline.keys import ingest_secret
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import Settings, load_settings

COUNTED_FAILURES = 10  # The back-off does not grow after more failures.


def build_landing_sensor(names: Names) -> dg.SensorDefinition:
    """Return the sensor that starts a run when files wait in the landing."""

    @dg.sensor(
        name=names.named(LANDING_SENSOR),
        job_name=names.named(RAW_EVENTS_JOB),
        minimum_interval_seconds=EVERY_LOOK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Starts a run when a file waits in the landing. It waits longer after each failed run."
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
    """Ask for one run at a time, which drains all that waits.

    The counter in the run key lets the same file start another run. After a failure, files that
    arrived after the last request do not wait for the back-off; files that only changed do wait.
    A failure whose time is after now holds nothing up: it was recorded while a clock was ahead.
    """
    settings, (asked, known) = load_settings(), _read_cursor(context.cursor)
    waiting = len(landed_files(settings.landing_path))
    if not waiting:
        empty = dg.SkipReason("the landing is empty")
        # The marks of files that are gone are of no use.
        return dg.SensorResult(skip_reason=empty, cursor=_cursor(asked, ())) if known else empty
    now, job = datetime.now(UTC), names.named(RAW_EVENTS_JOB)
    with postgres.connect() as connection:
        ours = OwnRuns.seen_by(connection, names, own_location(context))
        running, _ = running_and_failed(
            context.instance, connection, ours, job, now - ATTEMPTS_WINDOW
        )
    if running:
        return dg.SkipReason(f"{waiting} file(s) wait for the run in flight")
    failures = failures_in_a_row(context.instance, ours, job, COUNTED_FAILURES)
    files = _marks(settings)
    if (
        failures
        and failures[0] <= now < (again := failures[0] + backoff(len(failures)))
        and (known is None or files is None or files <= known)
    ):
        why = (
            f"{waiting} file(s) wait: the last {len(failures)} run(s) of {job} failed, the next"
            f" is at {again:%H:%M:%S} UTC"
        )
        return dg.SensorResult(
            skip_reason=dg.SkipReason(why), cursor=_cursor(asked, files if known is None else known)
        )
    request = dg.RunRequest(run_key=f"landing-{asked + 1}", partition_key=str(today_utc()))
    return dg.SensorResult(run_requests=[request], cursor=_cursor(asked + 1, files))


def _marks(settings: Settings) -> set[str] | None:
    """Return the marks of the files that wait, or None if the secret behind them is missing.

    The run that the sensor then asks for says what is wrong with the secret.
    """
    try:
        secret = ingest_secret(settings)
    except SignalError:
        return None
    return marks_of_landed(settings.landing_path, secret)


def _read_cursor(cursor: str | None) -> tuple[int, set[str] | None]:
    """Return how often the landing sensor has asked, and the marks of the files that it knows.

    The marks are None if the cursor is only the number, as in an older version or without a secret.
    Marks that an older version made, or that were made with an earlier secret, belong to no file:
    every file then counts as new once.
    """
    value = json.loads(cursor or "0")
    return (value, None) if isinstance(value, int) else (value["asked"], set(value["marks"]))


def _cursor(asked: int, marks: Collection[str] | None) -> str:
    return json.dumps(asked if marks is None else {"asked": asked, "marks": sorted(marks)})


def build_stale_rollups_sensor(
    models: Models, names: Names, partitions: dg.DailyPartitionsDefinition
) -> dg.SensorDefinition:
    """Return the sensor that keeps every rollup of every open day fresh."""
    job = names.named(ROLLUPS_JOB)

    @dg.sensor(
        name=names.named(STALE_ROLLUPS_SENSOR),
        job_name=job,
        minimum_interval_seconds=EVERY_LOOK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Asks PostgreSQL which days have stale rollups, and starts a few bounded runs to build"
            " them. It waits longer after each failure of a day."
        ),
    )
    def stale_rollups_sensor(
        context: dg.SensorEvaluationContext, postgres: PostgresResource
    ) -> dg.SensorResult | dg.SkipReason:
        first = date.fromisoformat(partitions.get_first_partition_key() or str(today_utc()))
        stale = _stale_days(postgres, models, first)
        if not stale:
            return dg.SkipReason("every rollup is fresh")
        now = datetime.now(UTC)
        with postgres.connect() as connection:
            ours = OwnRuns.seen_by(connection, names, own_location(context))
            running, ended = running_and_failed(
                context.instance, connection, ours, job, now - ATTEMPTS_WINDOW
            )
        failed = failed_days(ended, models)
        taken = [days for each in running if (days := days_of(each.dagster_run))]
        requests = range_requests(stale, taken, failed, now)
        if not requests:
            return dg.SkipReason(_skip_reason(stale, given_up(stale, failed, now)))
        asked = int(context.cursor or 0) + 1
        return dg.SensorResult(
            [_run_request(request, names, asked, models.digest) for request in requests],
            cursor=str(asked),
        )

    return stale_rollups_sensor


def _stale_days(postgres: PostgresResource, models: Models, first: date) -> list[DayStatus]:
    with postgres.connect() as connection:
        statuses = day_statuses(connection, models.checksums, first, today_utc(), open_only=True)
    return [status for status in statuses if status.wants_build]


def _skip_reason(stale: list[DayStatus], abandoned: list[date]) -> str:
    text = f"{len(stale)} stale day(s): in flight, pausing or backing off"
    if not abandoned:
        return text
    days = ", ".join(map(str, abandoned[:5]))
    return (
        f"{text}; {len(abandoned)} failed at least {MAX_ATTEMPTS} times in a row, and rest for a"
        f" day, or for an hour if they change: {days}"
    )


def _run_request(request: RangeRequest, names: Names, asked: int, digest: str) -> dg.RunRequest:
    # The key holds the counter because Dagster never runs a key twice, and the same facts can come
    # again after a manual change.
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
