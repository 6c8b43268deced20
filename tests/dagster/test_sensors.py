"""Sensors and schedules against a real database and a real instance.

The cases are those that start or withhold a run.
"""

from __future__ import annotations

from datetime import date, timedelta

import dagster as dg
import pytest
from conftest import Fill
from dagster._core.storage.partition_status_cache import AssetPartitionStatus
from support.dagster import Run, materialized, purge, refuse_day
from support.days import days_ago, due_day, yesterday
from support.ticks import END, START, AddRun, Tick, ranges, requests
from support.traffic import line

from faults import launched
from signal_pipeline.dagster.run_locks import hold_run_lock
from signal_pipeline.dagster.runs import LOCK_TAG
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

OS = dg.AssetKey("daily_os_activity")


def test_an_empty_database_asks_for_nothing(tick: Tick) -> None:
    result = tick("stale_rollups_sensor")
    assert isinstance(result, dg.SkipReason)
    assert "fresh" in (result.skip_message or "")


def test_first_events_ask_for_their_day(tick: Tick, fill: Fill) -> None:
    fill(yesterday(), 30)
    assert ranges(tick("stale_rollups_sensor")) == [(str(yesterday()), str(yesterday()))]


def test_nothing_new_asks_for_nothing(tick: Tick, fill: Fill, run: Run) -> None:
    fill(yesterday())
    assert run("rollups_job", yesterday()).success
    assert requests(tick("stale_rollups_sensor")) == []


def test_new_events_today_ask_again_after_a_pause(
    tick: Tick, fill: Fill, run: Run, connection: Connection
) -> None:
    fill(yesterday())
    assert run("rollups_job", yesterday()).success
    fill(yesterday(), 5, seed=2)
    connection.execute("update signal.builds set seconds = 1000")
    assert requests(tick("stale_rollups_sensor")) == []
    connection.execute(
        "update signal.builds set built_at = built_at - interval '1 hour', seconds = 0"
    )
    assert len(requests(tick("stale_rollups_sensor"))) == 1


def test_a_late_event_refreshes_its_old_day_only(
    tick: Tick, fill: Fill, run: Run, connection: Connection
) -> None:
    days = [days_ago(n) for n in range(1, 41)]
    for day in (days[39], days[20], days[0]):
        fill(day, 5)
        assert run("rollups_job", day).success
    connection.execute(
        "update signal.builds set built_at = built_at - interval '1 hour', seconds = 0"
    )
    fill(days[20], 3, seed=2)
    assert ranges(tick("stale_rollups_sensor")) == [(str(days[20]), str(days[20]))]


def test_a_run_in_flight_is_not_asked_for_twice(tick: Tick, fill: Fill, add_run: AddRun) -> None:
    fill(yesterday())
    add_run(
        "rollups_job", dg.DagsterRunStatus.STARTED, {START: str(yesterday()), END: str(yesterday())}
    )
    result = tick("stale_rollups_sensor")
    assert requests(result) == []
    assert isinstance(result, dg.SkipReason)
    assert "in flight" in (result.skip_message or "")


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED])
def test_a_run_that_is_marked_as_over_and_goes_on_is_in_flight(
    tick: Tick,
    fill: Fill,
    add_run: AddRun,
    database: Database,
    environment: Settings,
    status: dg.DagsterRunStatus,
) -> None:
    fill(yesterday())
    environment.landing_path.mkdir()
    (environment.landing_path / "a.ndjson").write_bytes(line())
    build = add_run("rollups_job", status, {START: str(yesterday()), END: str(yesterday())})
    drain = add_run("raw_events_job", status)
    with hold_run_lock(database, build.run_id), hold_run_lock(database, drain.run_id):
        assert "in flight" in str(tick("stale_rollups_sensor"))
        assert "wait for the run in flight" in str(tick("landing_sensor"))


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE])
def test_runs_of_others_under_our_names_change_nothing(
    tick: Tick,
    fill: Fill,
    environment: Settings,
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
    status: dg.DagsterRunStatus,
) -> None:
    fill(yesterday())
    environment.landing_path.mkdir()
    (environment.landing_path / "a.ndjson").write_bytes(line())
    for name in ("rollups_job", "raw_events_job"):
        for tags in ({}, {LOCK_TAG: "1/1"}):  # Another team's, then another Signal's.
            days = {START: str(yesterday()), END: str(yesterday())}
            job = defs.resolve_job_def(name)
            instance.create_run_for_job(job, tags={**days, **tags}, status=status)
            launched.create_run(instance, job, "neighbour", tags={**days, **tags}, status=status)
    assert len(requests(tick("stale_rollups_sensor"))) == 1
    assert len(requests(tick("landing_sensor"))) == 1


def test_a_day_that_failed_waits_even_if_it_changes_and_a_new_tick_has_a_new_key(
    tick: Tick,
    fill: Fill,
    add_run: AddRun,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill(yesterday())
    connection.execute("update signal.days set changed_at = now() - interval '1 hour'")
    first = requests(tick("stale_rollups_sensor"))
    add_run(
        "rollups_job", dg.DagsterRunStatus.FAILURE, {START: str(yesterday()), END: str(yesterday())}
    )
    assert requests(tick("stale_rollups_sensor", "1")) == []
    connection.execute("update signal.days set changed_at = now() + interval '1 second'")
    assert requests(tick("stale_rollups_sensor", "1")) == []
    monkeypatch.setattr("signal_pipeline.dagster.due_builds.FIRST_BACKOFF", timedelta(0))
    again = requests(tick("stale_rollups_sensor", "1"))
    assert first[0].run_key != again[0].run_key


def test_a_day_that_keeps_failing_is_named_and_asked_for_again_when_its_model_changes(
    tick: Tick, fill: Fill, add_run: AddRun, connection: Connection
) -> None:
    fill(yesterday())
    (request,) = requests(tick("stale_rollups_sensor"))
    connection.execute("update signal.days set changed_at = now() - interval '1 hour'")

    def fail(tags: dict[str, str]) -> None:
        for _ in range(5):
            add_run("rollups_job", dg.DagsterRunStatus.FAILURE, tags)

    fail({**request.tags, "signal/models": "other models"})
    assert len(requests(tick("stale_rollups_sensor"))) == 1
    fail(dict(request.tags))
    result = tick("stale_rollups_sensor")
    assert isinstance(result, dg.SkipReason)
    assert (
        "1 failed at least 5 times in a row, and rest for a day, or for an hour if they change:"
        f" {yesterday()}"
    ) in (result.skip_message or "")


def test_a_day_that_rests_after_a_failure_is_in_no_run_of_other_days(
    tick: Tick, fill: Fill, run: Run, instance: dg.DagsterInstance, connection: Connection
) -> None:
    """It is not tried before its time, and Dagster goes on showing it as failed."""
    days = [days_ago(n) for n in (3, 2, 1)]
    for day in days:
        fill(day)
    refuse_day(connection, days[1])
    assert not run("rollups_job", days[0], days[-1]).success
    for day in (days[0], days[-1]):
        fill(day, 5, seed=2)
    connection.execute(
        "update signal.builds set built_at = built_at - interval '1 hour', seconds = 0"
    )
    connection.execute("update signal.days set changed_at = now() - interval '1 hour'")
    built = set()
    for request in requests(tick("stale_rollups_sensor")):
        first, last = (date.fromisoformat(request.tags[tag]) for tag in (START, END))
        result = run("rollups_job", first, last, dict(request.tags))
        assert result.success
        built |= materialized(instance, result)["daily_os_activity"]
    assert built == {str(days[0]), str(days[-1])}
    shown = instance.get_status_by_partition(
        OS, [str(day) for day in days], dg.DailyPartitionsDefinition(str(days[0]))
    )
    assert shown == {
        str(days[0]): AssetPartitionStatus.MATERIALIZED,
        str(days[1]): AssetPartitionStatus.FAILED,
        str(days[2]): AssetPartitionStatus.MATERIALIZED,
    }


def test_a_purged_day_is_never_asked_for(
    tick: Tick,
    fill: Fill,
    run: Run,
    database: Database,
    connection: Connection,
    models: Models,
) -> None:
    fill(due_day())
    assert run("rollups_job", due_day()).success
    purge(database, models, due_day())
    connection.execute("update signal.builds set model_checksum = 'an older model'")
    assert requests(tick("stale_rollups_sensor")) == []


def test_a_changed_model_makes_its_open_days_stale_and_asks_for_that_rollup_alone(
    tick: Tick, fill: Fill, run: Run, connection: Connection
) -> None:
    days = [days_ago(2), yesterday()]
    for day in days:
        fill(day, 5)
        assert run("rollups_job", day).success
    connection.execute(
        "update signal.builds set built_at = built_at - interval '1 hour', seconds = 0"
    )
    connection.execute(
        "update signal.builds set model_checksum = 'old' where rollup = 'daily_os_activity'"
    )
    (request,) = requests(tick("stale_rollups_sensor"))
    assert request.asset_selection == [dg.AssetKey("daily_os_activity")]
    assert (request.tags[START], request.tags[END]) == (str(days[0]), str(days[1]))


def test_the_requested_run_makes_the_day_fresh(tick: Tick, fill: Fill, run: Run) -> None:
    fill(yesterday())
    (request,) = requests(tick("stale_rollups_sensor"))
    assert run("rollups_job", yesterday(), yesterday(), dict(request.tags)).success
    assert requests(tick("stale_rollups_sensor")) == []


def test_sensors_run_by_default(defs: dg.Definitions) -> None:
    for name in (
        "landing_sensor",
        "stale_rollups_sensor",
        "run_failure_sensor",
        "red_checks_sensor",
        "alerts_sensor",
        "retention_sensor",
    ):
        assert defs.resolve_sensor_def(name).default_status == dg.DefaultSensorStatus.RUNNING
