"""The retention of a nightly run that failed: a run of its own makes up for it, once a day."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta

import dagster as dg
import psycopg
import pytest
from conftest import Fill
from support.dagster import Run, refuse_day
from support.days import due_day, yesterday
from support.ticks import AddRun, Tick

from faults import launched
from signal_pipeline.dagster import left_retention
from signal_pipeline.postgres.database import Connection

pytestmark = pytest.mark.embedded_only
RETENTION_CHECKS = {"nothing_expired", "nothing_overdue"}
Ask = Callable[[], str | None]


@pytest.fixture
def instance(stored: dg.DagsterInstance) -> dg.DagsterInstance:
    """A Dagster instance on PostgreSQL, whose times a test can change."""
    return stored


@pytest.fixture
def asked(tick: Tick, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Ticks once, long after the last failure; returns why no run is asked for, or None."""
    monkeypatch.setattr(left_retention, "RETRY_PAUSE", timedelta(0))

    def evaluate() -> str | None:
        result = tick("retention_sensor")
        return result.skip_message if isinstance(result, dg.SkipReason) else None

    return evaluate


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
    assert asked() is None
    result = run("retention_job", None)
    assert result.success
    assert purged(connection, *old)
    assert {e.check_name for e in result.get_asset_check_evaluations()} == RETENTION_CHECKS
    assert "today's retention is done" in str(asked())


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


def test_a_killed_night_is_made_up_for_once(
    add_run: AddRun, instance: dg.DagsterInstance, asked: Ask
) -> None:
    night = add_run("nightly_job", dg.DagsterRunStatus.STARTED)
    assert asked() == "no nightly run has failed today"
    instance.report_run_failed(night)
    assert asked() is None
    started = add_run("retention_job", dg.DagsterRunStatus.STARTED)
    assert "started by itself today" in str(asked())
    instance.report_run_failed(started)
    assert "started by itself today" in str(asked())


def test_the_next_try_of_a_killed_night_is_awaited(
    add_run: AddRun,
    instance: dg.DagsterInstance,
    tick: Tick,
    asked: Ask,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    instance.report_run_failed(add_run("nightly_job", dg.DagsterRunStatus.STARTED))
    again = add_run("nightly_job", dg.DagsterRunStatus.STARTED)
    assert "the nightly run goes on" in str(asked())
    instance.report_run_canceled(again)
    assert asked() is None
    monkeypatch.setattr(left_retention, "RETRY_PAUSE", timedelta(minutes=2))
    assert "Dagster may try it again" in str(asked())


def test_a_nightly_run_of_others_is_not_made_up_for(
    instance: dg.DagsterInstance, defs: dg.Definitions, asked: Ask
) -> None:
    job = defs.resolve_job_def("nightly_job")
    launched.create_run(instance, job, "neighbour", status=dg.DagsterRunStatus.FAILURE)
    assert asked() == "no nightly run has failed today"


def test_times_that_a_clock_ahead_has_recorded_do_not_count(
    add_run: AddRun, instance: dg.DagsterInstance, asked: Ask
) -> None:
    def record_ahead(job: str, column: str) -> None:
        url = os.environ["SIGNAL_DAGSTER_DATABASE_URL"].replace("+psycopg2", "")
        with psycopg.connect(url) as storage:
            storage.execute(
                f"update runs set {column} = {column} + interval '1 year' where pipeline_name = %s",  # type: ignore[arg-type]
                [job],
            )

    instance.report_run_failed(add_run("nightly_job", dg.DagsterRunStatus.STARTED))
    add_run("retention_job", dg.DagsterRunStatus.FAILURE)
    assert "started by itself today" in str(asked())
    record_ahead("retention_job", "create_timestamp")
    assert asked() is None
    record_ahead("nightly_job", "update_timestamp")
    assert asked() == "no nightly run has failed today"
