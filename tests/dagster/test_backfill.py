"""Backfills by the command.

The tests show what is planned, what would change, what is built, and how one continues after a
stop.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import dagster as dg
import pytest
from conftest import Fill
from support.dagster import Run, purge, rows_of
from support.days import days_ago, due_day, yesterday

from signal_pipeline.dagster import backfill as backfill_module
from signal_pipeline.dagster.assets.rollup_marks import RollupMarks
from signal_pipeline.dagster.backfill import (
    BackfillResult,
    plan_backfill,
    plan_differences,
    run_backfill,
)
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.rollups.difference import Difference
from signal_pipeline.rollups.engine import open_engine
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only
DAYS = [days_ago(n) for n in (4, 3, 2, 1)]


@pytest.fixture
def backfill(
    environment: Settings,
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
    database: Database,
    models: Models,
) -> Callable[..., BackfillResult]:
    """Backfills the days from `first` to `last` in runs of two days."""

    def run(
        first: date,
        last: date,
        *,
        only_stale: bool = False,
        progress: Callable[[int], None] = lambda done: None,
    ) -> BackfillResult:
        with database.connect() as connection:
            plan = plan_backfill(connection, models, first, last, only_stale=only_stale)
        return run_backfill(instance, defs, database, plan, list(models), 2, progress)

    return run


@pytest.fixture(params=["duckdb", "postgres"])
def differences(
    request: pytest.FixtureRequest, settings: Settings, database: Database, models: Models
) -> Callable[[date], list[Difference]]:
    """What a rebuild of a day would change, by either engine."""
    engine = open_engine(settings.model_copy(update={"rollup_engine": request.param}), database)

    def of_day(day: date) -> list[Difference]:
        with database.connect() as connection:
            plan = plan_backfill(connection, models, day, day)
        return plan_differences(database, engine, models, plan, lambda done: None)

    return of_day


def test_a_range_is_few_runs_and_its_progress_adds_up(
    backfill: Callable[..., BackfillResult], fill: Fill
) -> None:
    for day in DAYS:
        fill(day, 5)
    told: list[int] = []
    result = backfill(DAYS[0], DAYS[-1], progress=told.append)
    assert (result.built, result.refused, result.runs) == (DAYS, {}, 2)
    assert sum(told) == 4
    assert all(days >= 0 for days in told)


def test_a_backfill_goes_on_without_its_progress(
    backfill: Callable[..., BackfillResult],
    fill: Fill,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fill(yesterday())
    monkeypatch.setattr(backfill_module, "PROGRESS_SECONDS", 0)
    monkeypatch.setattr(backfill_module, "query", lambda *_: "select no_such_column")
    told: list[int] = []
    assert backfill(yesterday(), yesterday(), progress=told.append).built == [yesterday()]
    assert told == [1]
    (warning,) = [each for each in caplog.records if each.name == backfill_module.__name__]
    assert "is not shown" in warning.getMessage()


def test_a_backfill_of_one_rollup_runs_that_alone_and_no_checks(
    instance: dg.DagsterInstance,
    environment: Settings,
    defs: dg.Definitions,
    database: Database,
    models: Models,
    connection: Connection,
    fill: Fill,
) -> None:
    fill(yesterday())
    plan = plan_backfill(connection, models, yesterday(), yesterday())
    result = run_backfill(
        instance, defs, database, plan, ["daily_os_activity"], 60, lambda done: None
    )
    assert result.built == [yesterday()]
    assert connection.execute("select rollup from signal.builds").fetchall() == [
        ("daily_os_activity",)
    ]
    (run,) = instance.get_runs()
    assert instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION) == []


def test_a_backfill_whose_run_is_marked_as_failed_goes_on_and_says_what_it_built(
    backfill: Callable[..., BackfillResult],
    fill: Fill,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A record that another process wrote does not prove that nothing runs."""
    for day in DAYS[:2]:
        fill(day, 5)
    log = RollupMarks.log

    def fail_and_log(*arguments: Any) -> None:
        (run,) = instance.get_runs(
            dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE])
        )
        instance.report_run_failed(run)
        log(*arguments)

    monkeypatch.setattr(RollupMarks, "log", fail_and_log)
    result = backfill(DAYS[0], DAYS[1])
    assert (result.built, result.refused, result.runs) == (DAYS[:2], {}, 1)
    (run,) = instance.get_runs()
    assert run.status == dg.DagsterRunStatus.SUCCESS
    assert run.remote_job_origin is None, "Dagster retries no run that it did not launch"


def test_a_backfill_goes_on_with_what_is_not_fresh(
    backfill: Callable[..., BackfillResult], fill: Fill, run: Run, connection: Connection
) -> None:
    for day in DAYS:
        fill(day, 5)
    assert run("rollups_job", DAYS[0], DAYS[1]).success
    before = connection.execute("select max(built_at) from signal.builds").fetchone()
    result = backfill(DAYS[0], DAYS[-1], only_stale=True)
    assert result.built == DAYS[2:]
    again = connection.execute(
        "select max(built_at) from signal.builds where day <= %s", [DAYS[1]]
    ).fetchone()
    assert again == before


def test_a_loss_is_refused_where_a_day_is_to_be_built_and_not_counted_where_it_is_left_alone(
    fill: Fill, run: Run, connection: Connection, models: Models
) -> None:
    for day in DAYS:
        fill(day, 5)
    assert run("rollups_job", DAYS[0], DAYS[1]).success
    first = "(select min(id::text)::uuid from signal.events group by created_at::date)"
    connection.execute("delete from signal.events where id in " + first)  # type: ignore[arg-type]
    reason = "raw events are missing: 1 fewer than the books say"
    assert plan_backfill(connection, models, DAYS[0], DAYS[-1]).refused == dict.fromkeys(
        DAYS, reason
    )
    resumed = plan_backfill(connection, models, DAYS[0], DAYS[-1], only_stale=True)
    assert resumed.refused == dict.fromkeys(DAYS[2:], reason)
    assert resumed.fresh == DAYS[:2]


def test_purged_and_future_days_are_refused_by_name(
    backfill: Callable[..., BackfillResult],
    fill: Fill,
    run: Run,
    database: Database,
    models: Models,
) -> None:
    old = due_day()
    fill(old)
    assert run("rollups_job", old).success
    purge(database, models, old)
    result = backfill(old, old + timedelta(days=1))
    assert result.refused == {old: "purged, unchanged"}
    assert result.built == [old + timedelta(days=1)]


def test_a_difference_shows_what_a_late_event_would_change_and_changes_nothing(
    differences: Callable[[date], list[Difference]],
    fill: Fill,
    run: Run,
    connection: Connection,
    models: Models,
) -> None:
    fill(yesterday(), 40)
    assert run("rollups_job", yesterday()).success
    assert all(difference.same for difference in differences(yesterday()))
    fill(yesterday(), 3, seed=2)
    connection.execute("delete from signal.daily_os_activity where event_type <> '(all)'")
    before = {name: rows_of(connection, name, yesterday()) for name in models}
    builds = connection.execute("select * from signal.builds order by rollup").fetchall()
    found = {difference.rollup: difference for difference in differences(yesterday())}
    app, systems = found["daily_app_activity"], found["daily_os_activity"]
    assert (app.stored_events, app.computed_events) == (40, 43)
    assert app.changed >= 1
    assert systems.added > 0
    assert systems.stored_rows == len(before["daily_os_activity"])
    assert {name: rows_of(connection, name, yesterday()) for name in models} == before
    assert connection.execute("select * from signal.builds order by rollup").fetchall() == builds


def test_a_difference_counts_rows_that_a_rebuild_would_remove(
    differences: Callable[[date], list[Difference]], fill: Fill, run: Run, connection: Connection
) -> None:
    fill(yesterday(), 10)
    assert run("rollups_job", yesterday()).success
    connection.execute(
        "insert into signal.daily_route_activity values (%s, 'cms', '(all)', '/x', 9, 1, 1)",
        [yesterday()],
    )
    found = {difference.rollup: difference for difference in differences(yesterday())}
    route = found["daily_route_activity"]
    assert (route.removed, route.added, route.changed) == (1, 0, 0)
    assert route.stored_events - route.computed_events == 9


def test_a_day_that_is_refused_after_the_plan_is_in_one_list_only(
    fill: Fill, connection: Connection, database: Database, models: Models, settings: Settings
) -> None:
    for day in DAYS[:2]:
        fill(day, 5)
    plan = plan_backfill(connection, models, DAYS[0], DAYS[1])
    connection.execute(
        "delete from signal.events where created_at >= %s::date::timestamp at time zone 'UTC'",
        [DAYS[1]],
    )
    engine = open_engine(settings, database)
    found = plan_differences(database, engine, models, plan, lambda done: None)
    assert {difference.day for difference in found} == {DAYS[0]}
    assert (plan.days, list(plan.refused)) == ([DAYS[0]], [DAYS[1]])


def test_a_purged_day_has_no_difference(
    differences: Callable[[date], list[Difference]],
    fill: Fill,
    run: Run,
    database: Database,
    models: Models,
) -> None:
    old = due_day()
    fill(old)
    assert run("rollups_job", old).success
    purge(database, models, old)
    assert differences(old) == []
