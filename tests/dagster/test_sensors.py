"""Sensors and schedules against a real database and a real instance.

The cases are those that start or withhold a run.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date, timedelta

import dagster as dg
import pytest
from conftest import Fill
from dagster._core.storage.partition_status_cache import AssetPartitionStatus
from psycopg import sql
from support.dagster import Run, materialized, purge
from support.days import days_ago, due_day, today, yesterday
from support.traffic import line

from faults import launched
from signal_pipeline.dagster.run_locks import hold_run_lock, lock_space
from signal_pipeline.dagster.runs import LOCK_TAG
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

OS = dg.AssetKey("daily_os_activity")
START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
Tick = Callable[..., dg.SensorResult | dg.SkipReason]
AddRun = Callable[..., dg.DagsterRun]


@pytest.fixture
def tick(environment: Settings, instance: dg.DagsterInstance, defs: dg.Definitions) -> Tick:
    """Evaluates a sensor once."""

    def evaluate(name: str, cursor: str | None = None) -> dg.SensorResult | dg.SkipReason:
        sensor = defs.resolve_sensor_def(name)
        context = dg.build_sensor_context(
            instance=instance, definitions=defs, cursor=cursor, resources=defs.resources or {}
        )
        with context:
            result = sensor(context)
        assert isinstance(result, dg.SensorResult | dg.SkipReason)
        return result

    return evaluate


@pytest.fixture
def add_run(instance: dg.DagsterInstance, defs: dg.Definitions, connection: Connection) -> AddRun:
    """Adds a run of ours that has had its lock."""

    def add(
        job: str, status: dg.DagsterRunStatus, tags: dict[str, str] | None = None
    ) -> dg.DagsterRun:
        known = {LOCK_TAG: lock_space(connection), **(tags or {})}
        return instance.create_run_for_job(defs.resolve_job_def(job), tags=known, status=status)

    return add


def requests(result: dg.SensorResult | dg.SkipReason) -> list[dg.RunRequest]:
    """The run requests of a tick."""
    return list(result.run_requests or []) if isinstance(result, dg.SensorResult) else []


def cursor_of(result: dg.SensorResult | dg.SkipReason) -> str | None:
    """The cursor that the next tick gets."""
    return result.cursor if isinstance(result, dg.SensorResult) else None


def skipped(result: dg.SensorResult | dg.SkipReason) -> str:
    """The reason why a tick that keeps its cursor asks for nothing."""
    assert isinstance(result, dg.SensorResult)
    assert isinstance(result.skip_reason, dg.SkipReason)
    return result.skip_reason.skip_message or ""


def ranges(result: dg.SensorResult | dg.SkipReason) -> list[tuple[str, str]]:
    """The first and last day of each request."""
    return [(request.tags[START], request.tags[END]) for request in requests(result)]


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
    connection.execute(
        sql.SQL(
            "alter table signal.daily_os_activity add constraint broken check (activity_date <> {})"
        ).format(str(days[1]))
    )
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


def test_a_landed_file_asks_for_one_run_until_it_is_done(
    tick: Tick, run: Run, environment: Settings, instance: dg.DagsterInstance, add_run: AddRun
) -> None:
    assert requests(tick("landing_sensor")) == []
    environment.landing_path.mkdir()
    (environment.landing_path / "half.tmp").write_bytes(line())
    (environment.landing_path / ".hidden.ndjson").write_bytes(line())
    assert requests(tick("landing_sensor")) == []
    os.rename(environment.landing_path / "half.tmp", environment.landing_path / "whole.ndjson")
    result = tick("landing_sensor")
    (request,) = requests(result)
    assert request.partition_key == str(today())
    assert isinstance(result, dg.SensorResult)
    running = add_run("raw_events_job", dg.DagsterRunStatus.STARTED)
    assert requests(tick("landing_sensor", result.cursor)) == []
    instance.report_run_canceled(running)
    assert run("raw_events_job", today()).success
    assert requests(tick("landing_sensor")) == []
    (environment.landing_path / "next.ndjson").write_bytes(line())
    (again,) = requests(tick("landing_sensor", result.cursor))
    assert again.run_key != request.run_key


def test_a_landed_file_that_fails_waits_longer_each_time(
    tick: Tick,
    run: Run,
    environment: Settings,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    connection: Connection,
) -> None:
    environment.landing_path.mkdir()
    bad = environment.landing_path / "a-bad.ndjson"
    bad.symlink_to("/proc/self/mem")  # Even root cannot read this file.
    (environment.landing_path / "b-good.ndjson").write_bytes(line())
    failed = run("raw_events_job", today())
    assert not failed.success
    assert connection.execute("select count(*) from signal.events").fetchone() == (1,)
    logged = [entry.user_message for entry in instance.all_logs(failed.run_id)]
    assert any(
        text.startswith("landing: 1 file(s) done, events: {'received': 1") for text in logged
    )
    assert "the last 1 run(s) of raw_events_job failed, the next is at" in skipped(
        tick("landing_sensor", "7")
    )
    monkeypatch.setattr("signal_pipeline.dagster.due_builds.FIRST_BACKOFF", timedelta(0))
    assert len(requests(tick("landing_sensor"))) == 1


def test_whatever_waits_asks_for_a_run_and_what_comes_later_does_not_wait_behind_what_failed(
    tick: Tick, run: Run, environment: Settings, connection: Connection
) -> None:
    environment.landing_path.mkdir()
    bad = environment.landing_path / "array.JSON"
    bad.write_bytes(b"[" + line() + b"]")
    asked = tick("landing_sensor")
    (request,) = requests(asked)
    assert request.partition_key == str(today())
    for _ in range(2):
        failed = run("raw_events_job", today())
        assert not failed.success
        assert not [event for event in failed.all_events if event.is_step_up_for_retry]
        (failure,) = [
            event.step_failure_data for event in failed.all_events if event.is_step_failure
        ]
        assert "'array.JSON' looks like a JSON array" in str(failure.error)
        asked = tick("landing_sensor", cursor_of(asked))
        assert "1 file(s) wait: the last" in skipped(asked)
    with bad.open("ab") as stream:
        stream.write(b"\n")
    bad.chmod(0o640)
    assert "1 file(s) wait: the last" in skipped(tick("landing_sensor", cursor_of(asked)))
    (environment.landing_path / "later.jsonl").write_bytes(line())
    asked = tick("landing_sensor", cursor_of(asked))
    assert len(requests(asked)) == 1
    assert not run("raw_events_job", today()).success
    assert connection.execute("select count(*) from signal.events").fetchone() == (1,)
    assert requests(tick("landing_sensor", cursor_of(asked))) == []
    bad.unlink()
    result = tick("landing_sensor")
    assert isinstance(result, dg.SkipReason)
    assert result.skip_message == "the landing is empty"


def test_sensors_run_by_default(defs: dg.Definitions) -> None:
    for name in (
        "landing_sensor",
        "stale_rollups_sensor",
        "run_failure_sensor",
        "red_checks_sensor",
        "alerts_sensor",
    ):
        assert defs.resolve_sensor_def(name).default_status == dg.DefaultSensorStatus.RUNNING
