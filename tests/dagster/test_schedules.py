"""Schedules: what each asks for, and when it asks for nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime

import dagster as dg
import psycopg
import pytest
from conftest import Fill
from support.dagster import Run, metadata_of
from support.days import days_ago, yesterday
from support.traffic import line

from faults import launched
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

# One is enough for a run of which only the time matters.
CHECKS = [("raw_events", "landing_moves")]


@pytest.fixture
def instance(stored: dg.DagsterInstance) -> dg.DagsterInstance:
    """A Dagster instance on PostgreSQL, since the context of a schedule opens it anew."""
    return stored


@pytest.fixture
def night(
    environment: Settings, instance: dg.DagsterInstance, defs: dg.Definitions
) -> Callable[..., dg.RunRequest]:
    """Evaluates the schedule of the nightly run once, at 00:30 UTC of today or at another time."""

    def evaluate(at: datetime | None = None) -> dg.RunRequest:
        midnight = datetime.now(UTC).replace(hour=0, minute=30, second=0, microsecond=0)
        with dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=at or midnight,
            resources=defs.resources or {},
        ) as context:
            request = defs.resolve_schedule_def("nightly_schedule")(context)
        assert isinstance(request, dg.RunRequest)
        return request

    return evaluate


@pytest.mark.parametrize(
    ("at", "day"),
    [
        (datetime(2026, 11, 20, 0, 30, tzinfo=UTC), "2026-11-19"),
        (datetime(2027, 1, 1, 0, 30, tzinfo=UTC), "2026-12-31"),
        (datetime(2028, 3, 1, 0, 30, tzinfo=UTC), "2028-02-29"),
    ],
)
def test_the_nightly_schedule_asks_for_yesterday(
    defs: dg.Definitions, night: Callable[..., dg.RunRequest], at: datetime, day: str
) -> None:
    schedule = defs.resolve_schedule_def("nightly_schedule")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("30 0 * * *", "UTC")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert night(at).partition_key == day


def test_the_first_night_leaves_a_day_before_the_installation_unknown_and_runs_the_retention(
    night: Callable[..., dg.RunRequest],
    run: Run,
    connection: Connection,
    instance: dg.DagsterInstance,
) -> None:
    request = night()
    assert request.partition_key == str(yesterday())
    result = run("nightly_job", yesterday(), selection=request.asset_selection)
    assert result.success
    assert result.asset_materializations_for_node("expired_raw_events")
    assert "nothing_overdue" in {e.check_name for e in result.get_asset_check_evaluations()}
    assert connection.execute("select count(*) from signal.days").fetchone() == (0,)
    shown = metadata_of(instance, "raw_events", yesterday())
    assert "dagster/partition_row_count" not in shown
    assert "it is not zero" in str(shown["note"])


def test_the_first_night_builds_a_day_before_the_installation_that_has_events(
    night: Callable[..., dg.RunRequest], fill: Fill
) -> None:
    fill(yesterday())
    assert night().asset_selection is None


def test_each_later_night_builds_yesterday_though_it_has_no_events(
    night: Callable[..., dg.RunRequest], connection: Connection
) -> None:
    connection.execute("update signal.instance set created_at = now() - interval '1 day'")
    assert night().asset_selection is None


def test_a_night_is_asked_for_though_the_database_is_away(
    night: Callable[..., dg.RunRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNAL_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/signal")
    request = night()
    assert (request.partition_key, request.asset_selection) == (str(yesterday()), None)


@pytest.fixture
def hour(
    environment: Settings, instance: dg.DagsterInstance, defs: dg.Definitions
) -> Callable[[], object]:
    """Evaluates the schedule of the checks once."""

    def evaluate() -> object:
        schedule = defs.resolve_schedule_def("checks_schedule")
        with dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=datetime.now(UTC),
            resources=defs.resources or {},
        ) as context:
            return schedule(context)

    return evaluate


def test_the_checks_run_within_an_hour_of_a_change_and_not_on_an_idle_system(
    hour: Callable[[], object], fill: Fill, run: Run
) -> None:
    assert isinstance(hour(), dg.SkipReason)
    fill(yesterday())
    assert isinstance(hour(), dg.RunRequest)
    assert run("nightly_job", yesterday(), checks=CHECKS).success
    # The nightly run's own builds came after its start: one more evaluation, and then rest.
    assert isinstance(hour(), dg.RunRequest)
    assert run("checks_job", None, checks=CHECKS).success
    assert isinstance(hour(), dg.SkipReason)


def test_the_checks_of_each_hour_leave_the_first_to_the_nightly_run(defs: dg.Definitions) -> None:
    """At 00:15 a yesterday without events is not built yet, and what is due is not purged."""
    schedule = defs.resolve_schedule_def("checks_schedule")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("15 1-23 * * *", "UTC")


def test_the_checks_run_within_an_hour_of_a_drop_though_no_day_changed(
    hour: Callable[[], object], ingest: Ingest, run: Run
) -> None:
    assert run("checks_job", None, checks=CHECKS).success
    assert isinstance(hour(), dg.SkipReason)
    ingest.ingest_lines([line(userAgent="curl/8.7.1")])
    assert isinstance(hour(), dg.RunRequest)
    assert run("checks_job", None, checks=CHECKS).success
    assert isinstance(hour(), dg.SkipReason)


def test_the_checks_run_within_an_hour_of_a_change_in_the_landing(
    hour: Callable[[], object], run: Run, environment: Settings
) -> None:
    environment.landing_path.mkdir()
    assert run("checks_job", None, checks=CHECKS).success
    assert isinstance(hour(), dg.SkipReason)
    kept = environment.landing_path / "array.json"
    kept.write_bytes(b"[]")
    assert isinstance(hour(), dg.RunRequest)
    (found,) = run("checks_job", None, checks=CHECKS).get_asset_check_evaluations()
    assert not found.passed
    assert "'array.json' looks like a JSON array" in (found.description or "")
    assert isinstance(hour(), dg.SkipReason)
    kept.unlink()
    assert isinstance(hour(), dg.RunRequest)


def test_checks_that_a_clock_ahead_has_started_hold_up_none(
    hour: Callable[[], object], fill: Fill, run: Run
) -> None:
    fill(yesterday())
    assert run("nightly_job", yesterday(), checks=CHECKS).success
    assert run("checks_job", None, checks=CHECKS).success
    assert isinstance(hour(), dg.SkipReason)
    url = os.environ["SIGNAL_DAGSTER_DATABASE_URL"].replace("+psycopg2", "")
    with psycopg.connect(url) as storage:
        storage.execute("update runs set create_timestamp = create_timestamp + interval '1 year'")
    assert isinstance(hour(), dg.RunRequest)
    assert run("checks_job", None, checks=CHECKS).success
    assert isinstance(hour(), dg.SkipReason)


def test_a_run_of_others_under_the_name_of_our_checks_is_not_ours(
    hour: Callable[[], object],
    fill: Fill,
    run: Run,
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
) -> None:
    fill(yesterday())
    assert run("nightly_job", yesterday(), checks=CHECKS).success
    for name in ("checks_job", "nightly_job"):
        launched.create_run(
            instance, defs.resolve_job_def(name), "neighbour", status=dg.DagsterRunStatus.SUCCESS
        )
    assert isinstance(hour(), dg.RunRequest)


def test_all_raw_events_are_counted_at_night_and_a_changed_rollup_is_seen_each_hour(
    fill: Fill, run: Run, connection: Connection
) -> None:
    def evaluated(job: str, day: str | None, **more: object) -> dict[tuple[str, str], bool]:
        evaluations = run(job, day, **more).get_asset_check_evaluations()
        return {(e.asset_key.to_user_string(), e.check_name): e.passed for e in evaluations}

    fill(yesterday())
    night, hourly = evaluated("nightly_job", yesterday()), evaluated("checks_job", None)
    assert night.keys() - hourly.keys() == {
        ("raw_events", "books_reconcile"),
        ("daily_entity_activity", "reconciles_with_events"),
    }
    check = ("daily_os_activity", "reconciles_with_events")
    assert hourly[check]
    connection.execute(
        "update signal.daily_os_activity set events = events + 1 where event_type = '(all)'"
    )
    assert evaluated("checks_job", None, checks=[check]) == {check: False}


@pytest.mark.parametrize("age", [1, 3])
def test_raw_events_lost_behind_signals_back_are_red_after_the_night_even_if_it_cannot_build(
    fill: Fill, run: Run, connection: Connection, age: int
) -> None:
    day = days_ago(age)
    for each in {day, yesterday()}:
        fill(each)
        assert run("rollups_job", each).success
    lost = "(select id from signal.events where created_at < %s::date + 1 limit 3)"
    connection.execute("delete from signal.events where id in " + lost, [day])  # type: ignore[arg-type]
    night = run("nightly_job", yesterday(), checks=[("raw_events", "books_reconcile")])
    assert night.success == (day != yesterday())  # Yesterday is built again, and refused.
    (books,) = night.get_asset_check_evaluations()
    assert not books.passed
    assert str(day) in str(books.metadata["days"].value)
