"""The retention of a nightly run that failed: a run of its own makes up for it, each day."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta

import dagster as dg
import psycopg
import pytest
from conftest import Fill
from support.alerts import SetClock
from support.dagster import Run, refuse_day
from support.days import due_day, today, yesterday
from support.ticks import AddRun, Tick, requests

from faults import launched
from signal_pipeline.dagster import left_retention
from signal_pipeline.dagster.runs import LOCK_TAG
from signal_pipeline.postgres.database import Connection

pytestmark = pytest.mark.embedded_only
RETENTION_CHECKS = {"nothing_expired", "nothing_overdue"}
STARTED = dg.DagsterRunStatus.STARTED
DAY, YEAR = timedelta(days=1), timedelta(days=366)
Ask = Callable[[], str]


@pytest.fixture
def instance(stored: dg.DagsterInstance) -> dg.DagsterInstance:
    """A Dagster instance on PostgreSQL, whose times a test can change."""
    return stored


@pytest.fixture
def asked(tick: Tick, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Ticks once, long after the last failure.

    Returns the key of the run that is asked for, or why none is.
    """
    monkeypatch.setattr(left_retention, "RETRY_PAUSE", timedelta(0))

    def evaluate() -> str:
        result = tick("retention_sensor")
        if isinstance(result, dg.SkipReason):
            return result.skip_message or ""
        (request,) = requests(result)
        return request.run_key or ""

    return evaluate


@pytest.fixture
def fail_night(add_run: AddRun, instance: dg.DagsterInstance) -> Callable[[], None]:
    """Fails a nightly run."""

    def fail() -> None:
        instance.report_run_failed(add_run("nightly_job", STARTED))

    return fail


def move(job: str, column: str, by: timedelta) -> None:
    """Move a time that Dagster has recorded for the runs of a job."""
    url = os.environ["SIGNAL_DAGSTER_DATABASE_URL"].replace("+psycopg2", "")
    step = by.total_seconds() if column == "end_time" else by
    with psycopg.connect(url) as storage:
        moved = storage.execute(
            f"update runs set {column} = {column} + %s where pipeline_name = %s",  # type: ignore[arg-type]
            [step, job],
        )
        assert moved.rowcount


CANCELLED = "the nightly run was cancelled, so its retention is not made up for"


def first_key() -> str:
    """The key of the day's first try."""
    return f"{today()}-1"


def purged(connection: Connection, *days: object) -> bool:
    """Whether all the days are purged."""
    rows = connection.execute("select state from signal.days where day = any(%s)", [list(days)])
    return [state for (state,) in rows] == ["purged"] * len(days)


def test_a_rollup_that_fails_for_yesterday_does_not_keep_other_days(
    run: Run, fill: Fill, connection: Connection, asked: Ask
) -> None:
    """A broken rollup fails every night; the days that are due go all the same."""
    old = [due_day(overdue) for overdue in (2, 1)]
    for day in (*old, yesterday()):
        fill(day)
    for day in old:
        assert run("rollups_job", day).success
    refuse_day(connection, yesterday())
    assert not run("nightly_job", yesterday()).success
    assert asked() == first_key()
    result = run("retention_job", None)
    assert result.success
    assert purged(connection, *old)
    assert {e.check_name for e in result.get_asset_check_evaluations()} == RETENTION_CHECKS
    assert "the day's retention is done" in asked()


def test_a_day_that_is_due_and_cannot_be_built_is_kept(
    run: Run, fill: Fill, connection: Connection
) -> None:
    """Without the builds of a nightly run, too, the retention proves each day."""
    whole, broken = due_day(2), due_day(1)
    for day in (whole, broken, yesterday()):
        fill(day)
    refuse_day(connection, broken, "daily_app_activity")
    refuse_day(connection, yesterday())
    assert not run("nightly_job", yesterday()).success
    result = run("retention_job", None)
    assert result.success
    assert (purged(connection, whole), purged(connection, broken)) == (True, False)
    red = {e.check_name for e in result.get_asset_check_evaluations() if not e.passed}
    assert red == {"nothing_expired"}


def test_a_night_that_succeeds_asks_for_nothing(run: Run, fill: Fill, asked: Ask) -> None:
    assert asked() == "no nightly run has failed today"
    fill(yesterday())
    assert run("nightly_job", yesterday(), checks=[]).success
    assert asked() == "no nightly run has failed today"


def test_a_killed_night_is_made_up_for_with_three_tries(
    add_run: AddRun, instance: dg.DagsterInstance, asked: Ask
) -> None:
    """Dagster drops a request whose key a run has already, so each try has its own."""
    night = add_run("nightly_job", STARTED)
    assert asked() == "no nightly run has failed today"
    instance.report_run_failed(night)
    for number in (1, 2, 3):
        assert asked() == f"{today()}-{number}"
        started = add_run("retention_job", STARTED)
        assert asked() == "the retention waits for a run of retention_job"
        instance.report_run_failed(started)
    assert asked() == "3 runs of retention_job were started today, so no other is"


def test_a_try_is_not_repeated_at_once(
    fail_night: Callable[[], None],
    add_run: AddRun,
    instance: dg.DagsterInstance,
    asked: Ask,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fail_night()
    instance.report_run_failed(add_run("retention_job", STARTED))
    monkeypatch.setattr(left_retention, "RETRY_PAUSE", timedelta(minutes=2))
    move("nightly_job", "end_time", -timedelta(minutes=2))
    assert asked() == "a run of retention_job was started today: the next one waits a little"
    move("retention_job", "end_time", -timedelta(minutes=2))
    assert asked().endswith("-2")


def test_a_try_that_a_person_cancelled_is_the_last(
    fail_night: Callable[[], None], add_run: AddRun, instance: dg.DagsterInstance, asked: Ask
) -> None:
    fail_night()
    instance.report_run_canceled(add_run("retention_job", STARTED))
    assert asked() == "a run of retention_job was cancelled today, so no other is started"


def test_a_cancelled_night_is_not_made_up_for(
    add_run: AddRun, instance: dg.DagsterInstance, asked: Ask
) -> None:
    """A person wanted it to stop."""
    instance.report_run_canceled(add_run("nightly_job", STARTED))
    assert asked() == CANCELLED


def test_a_failed_night_whose_retry_was_cancelled_is_not_made_up_for(
    fail_night: Callable[[], None], add_run: AddRun, instance: dg.DagsterInstance, asked: Ask
) -> None:
    fail_night()
    assert asked() == first_key()
    instance.report_run_canceled(add_run("nightly_job", STARTED))
    assert asked() == CANCELLED


@pytest.mark.parametrize("job", ["left_checks_job", "checks_job"])
def test_runs_of_checks_are_awaited(
    fail_night: Callable[[], None],
    add_run: AddRun,
    instance: dg.DagsterInstance,
    asked: Ask,
    job: str,
) -> None:
    """A check that reads a day's raw events would keep the retention from dropping them."""
    fail_night()
    checks = add_run(job, STARTED)
    assert asked() == f"the retention waits for a run of {job}"
    instance.report_run_failed(checks)
    assert asked() == first_key()


@pytest.mark.parametrize("job", ["nightly_job", "left_checks_job", "retention_job"])
def test_a_run_that_never_starts_is_awaited_for_a_day(
    add_run: AddRun, fail_night: Callable[[], None], asked: Ask, job: str
) -> None:
    add_run(job, dg.DagsterRunStatus.STARTING)
    move(job, "create_timestamp", timedelta(hours=-23))
    fail_night()
    assert "wait" in asked() or "goes on" in asked()
    move(job, "create_timestamp", timedelta(hours=-2))
    assert asked() == first_key()


def test_what_was_done_yesterday_is_not_done_today(
    fail_night: Callable[[], None],
    add_run: AddRun,
    instance: dg.DagsterInstance,
    asked: Ask,
    set_clock: SetClock,
) -> None:
    for _ in range(3):
        add_run("retention_job", dg.DagsterRunStatus.FAILURE)
    move("retention_job", "create_timestamp", -DAY)
    set_clock(-DAY.total_seconds())
    instance.report_runless_asset_event(dg.AssetMaterialization("expired_raw_events"))
    set_clock(0)
    fail_night()
    assert asked() == first_key()
    instance.report_runless_asset_event(dg.AssetMaterialization("expired_raw_events"))
    assert "the day's retention is done" in asked()


def test_a_failure_of_yesterday_counts_no_more(fail_night: Callable[[], None], asked: Ask) -> None:
    """A tag that the run gets today does not make the failure one of today."""
    fail_night()
    move("nightly_job", "end_time", -DAY)
    assert asked() == "no nightly run has failed today"


def test_a_failure_just_before_midnight_is_made_up_for_after_it(
    fail_night: Callable[[], None], asked: Ask
) -> None:
    """The retention of the day of the failure is what is made up for."""
    fail_night()
    since_midnight = datetime.now(UTC) - datetime.combine(today(), time(), UTC)
    before = since_midnight + timedelta(minutes=1)
    move("nightly_job", "end_time", -before)
    assert asked() == f"{yesterday()}-1"
    move("nightly_job", "end_time", -left_retention.EVENING)
    assert asked() == "no nightly run has failed today"


def test_the_next_try_of_a_killed_night_is_awaited(
    fail_night: Callable[[], None],
    add_run: AddRun,
    instance: dg.DagsterInstance,
    tick: Tick,
    asked: Ask,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fail_night()
    again = add_run("nightly_job", STARTED)
    assert "the nightly run goes on" in asked()
    instance.report_run_failed(again)
    assert asked() == first_key()
    monkeypatch.setattr(left_retention, "RETRY_PAUSE", timedelta(minutes=2))
    assert "Dagster may try it again" in asked()


def test_a_nightly_run_that_failed_before_it_took_its_lock_is_made_up_for(
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
    asked: Ask,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only its code location tells that it is ours."""
    job, label = defs.resolve_job_def("nightly_job"), launched.label("signal")
    monkeypatch.setattr(left_retention, "own_location", lambda _: label)
    for location, answer in (
        ("neighbour", "no nightly run has failed today"),
        ("signal", first_key()),
    ):
        night = launched.create_run(instance, job, location, status=STARTED)
        assert LOCK_TAG not in night.tags
        instance.report_run_failed(night)
        assert asked() == answer


def test_times_that_a_clock_ahead_has_recorded_do_not_count(
    fail_night: Callable[[], None], add_run: AddRun, asked: Ask
) -> None:
    fail_night()
    for _ in range(3):
        add_run("retention_job", dg.DagsterRunStatus.FAILURE)
    assert "were started today" in asked()
    move("retention_job", "create_timestamp", YEAR)
    assert asked() == first_key()
    add_run("left_checks_job", dg.DagsterRunStatus.STARTING)
    assert "waits" in asked()
    move("left_checks_job", "create_timestamp", YEAR)
    assert asked() == first_key()
    move("nightly_job", "end_time", YEAR)
    assert asked() == "no nightly run has failed today"
