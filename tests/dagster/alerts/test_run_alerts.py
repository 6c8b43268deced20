"""One message when a run has failed for good."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import dagster as dg
import pytest
from conftest import Fill
from dagster._core.events import StepMaterializationData
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from psycopg import sql
from support.alerts import APP, NO_RETRY, Tick, ended_well, start_run
from support.dagster import Run
from support.days import days_ago, today, yesterday
from support.inbox import Inbox

from faults import launched
from signal_pipeline.dagster import failure_alerts, successes
from signal_pipeline.dagster.alert_state import read_state
from signal_pipeline.dagster.runs import LOCK_TAG, range_tags
from signal_pipeline.postgres.database import Connection

pytestmark = pytest.mark.embedded_only


def test_the_last_retry_has_failed(
    tick: Tick, box: Inbox, fail: Callable[..., dg.DagsterRun], instance: dg.DagsterInstance
) -> None:
    """A run is told when its last retry has failed."""
    first = fail()
    tick()
    assert box.titles() == [], "it has a retry left"
    family = {"dagster/parent_run_id": first.run_id, "dagster/root_run_id": first.run_id}
    second = fail(
        parent_run_id=first.run_id,
        root_run_id=first.run_id,
        tags={**family, "dagster/retry_number": "1"},
    )
    instance.add_run_tags(first.run_id, {"dagster/auto_retry_run_id": second.run_id})
    tick()
    assert second.run_id in box.messages[0]["message"]
    assert box.titles() == ["Signal: checks_job failed"]
    tick()
    assert box.titles() == []


@pytest.mark.parametrize("tag", ["false", "true"], ids=["said so", "never started"])
def test_a_retry_that_is_not_made(
    tick: Tick,
    box: Inbox,
    fail: Callable[..., dg.DagsterRun],
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    tag: str,
) -> None:
    """A retry that is not made after all is a failure."""
    run = fail()
    tick()
    assert box.titles() == []
    instance.add_run_tags(run.run_id, {"dagster/will_retry": tag})
    monkeypatch.setattr(failure_alerts, "RETRY_PATIENCE_SECONDS", -1)
    for _ in range(2):
        tick()
    assert box.titles() == ["Signal: checks_job failed"]


def test_a_job_that_keeps_failing(
    tick: Tick,
    box: Inbox,
    fail: Callable[..., dg.DagsterRun],
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
    mine: dict[str, str],
) -> None:
    """A job that keeps failing is told once until it succeeds."""

    def tell(day: object, job: str = "rollups_job") -> list[str]:
        fail(job, tags={**NO_RETRY, "dagster/partition": str(day)})
        tick()
        return box.titles()

    assert tell(yesterday()) == ["Signal: rollups_job failed"]
    assert tell(yesterday()) == []
    assert tell(today()) == ["Signal: rollups_job failed"], "another day is another failure"
    assert tell(yesterday(), "raw_events_job") == ["Signal: raw_events_job failed"]
    well = start_run(
        instance, defs, "rollups_job", tags={**mine, "dagster/partition": str(yesterday())}
    )
    instance.handle_new_event(ended_well(well))
    assert tell(yesterday()) == ["Signal: rollups_job failed"]
    assert tell(today()) == []


RANGE_FAILED = ["Signal: rollups_job failed"]


def test_a_day_at_fault_within_a_range(
    tick: Tick, box: Inbox, run: Run, fill: Fill, connection: Connection
) -> None:
    """Only a success for the day at fault makes its next failure news, not one for other days."""
    day = days_ago(3)
    spoil = sql.SQL(
        "alter table signal.daily_os_activity add constraint broken check (activity_date <> {})"
    ).format(str(day))
    fill(day)
    fill(yesterday())
    connection.execute(spoil)

    def build(first: date) -> list[str]:
        run("rollups_job", first, yesterday(), {**NO_RETRY, "signal/only_stale": "true"})
        tick()
        return box.titles()

    assert build(day) == RANGE_FAILED
    fill(yesterday(), 5, seed=2)
    assert build(yesterday()) == []
    assert build(day) == [], "it keeps failing, though the other day of its range was built"
    connection.execute("alter table signal.daily_os_activity drop constraint broken")
    assert build(day) == []
    fill(day, 5, seed=2)
    connection.execute(sql.SQL("delete from signal.daily_os_activity"))
    connection.execute(spoil)
    assert build(day) == RANGE_FAILED, "it was built in between"


def test_a_success_that_left_the_day_at_fault_alone(
    tick: Tick,
    box: Inbox,
    fail: Callable[..., dg.DagsterRun],
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
    mine: dict[str, str],
) -> None:
    """A run over a range of stale days succeeds for those days only that it built."""
    day = days_ago(3)
    tags = {**range_tags(day, today()), "signal/only_stale": "true"}

    def tell() -> list[str]:
        fail("rollups_job", tags={**NO_RETRY, **tags, "signal/failed_days": str(day)})
        tick()
        return box.titles()

    def succeed(built: date) -> None:
        well = start_run(instance, defs, "rollups_job", tags={**mine, **tags})
        mark = dg.AssetMaterialization(APP, partition=str(built))
        instance.report_dagster_event(
            dg.DagsterEvent(
                event_type_value="ASSET_MATERIALIZATION",
                job_name="rollups_job",
                event_specific_data=StepMaterializationData(mark),
            ),
            run_id=well.run_id,
        )
        instance.handle_new_event(ended_well(well))

    assert tell() == RANGE_FAILED
    succeed(today())
    assert tell() == []
    succeed(day)
    assert tell() == RANGE_FAILED


def test_a_success_without_the_rollup_at_fault(
    tick: Tick,
    box: Inbox,
    fail: Callable[..., dg.DagsterRun],
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
    mine: dict[str, str],
) -> None:
    """The other rollups of a live day are built all the time, so their success says nothing."""
    tags = range_tags(today(), today())
    named = {
        "signal/failed_days": str(today()),
        "signal/failed_rollups": f"{today()}:daily_os_activity",
    }

    def tell() -> list[str]:
        fail("rollups_job", tags={**NO_RETRY, **tags, **named})
        tick()
        return box.titles()

    def succeed(*rollups: str) -> None:
        keys = frozenset(map(dg.AssetKey, rollups))
        well = start_run(instance, defs, "rollups_job", tags={**mine, **tags}, asset_selection=keys)
        instance.handle_new_event(ended_well(well))

    assert tell() == RANGE_FAILED
    succeed("daily_app_activity")
    assert tell() == []
    succeed("daily_app_activity", "daily_os_activity")
    assert tell() == RANGE_FAILED


@pytest.mark.parametrize(
    ("rollup", "counts"), [("daily_os_activity", True), ("daily_app_activity", False)]
)
def test_a_success_of_a_day_for_the_rollup_that_failed_on_this_day(
    tick: Tick,
    box: Inbox,
    fail: Callable[..., dg.DagsterRun],
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
    mine: dict[str, str],
    rollup: str,
    counts: bool,
) -> None:
    """Another rollup failed on the next day, which has no part in it."""
    days = [days_ago(2), yesterday()]
    failed = {
        **range_tags(*days),
        "signal/failed_days": ",".join(map(str, days)),
        "signal/failed_rollups": f"{days[0]}:daily_os_activity;{days[1]}:daily_app_activity",
    }
    fail("rollups_job", tags={**NO_RETRY, **failed})
    tick()
    assert box.titles() == RANGE_FAILED
    own = {**mine, "dagster/partition": str(days[0])}
    keys = frozenset([dg.AssetKey(rollup)])
    well = start_run(instance, defs, "rollups_job", tags=own, asset_selection=keys)
    instance.handle_new_event(ended_well(well))
    fail("rollups_job", tags={**NO_RETRY, **failed})
    tick()
    assert box.titles() == (RANGE_FAILED if counts else [])


def test_successes_of_other_jobs_are_not_read(
    tick: Tick,
    box: Inbox,
    fail: Callable[..., dg.DagsterRun],
    succeed: Callable[..., dg.DagsterRun],
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Many failures on an instance with many runs do not make a tick too long for Dagster."""
    days = [{**NO_RETRY, "dagster/partition": str(days_ago(n))} for n in range(3)]
    for tags in days:
        fail(tags=tags)
    tick()
    assert len(box.titles()) == len(days)
    for n in range(9):
        succeed("checks_job" if n < 4 else "raw_events_job", **{"dagster/partition": "2020-01-01"})
    for tags in days:
        fail(tags=tags)
    read: list[str] = []
    runs, ends = instance.get_run_records, instance.fetch_run_status_changes

    def note_runs(*asked: Any, **more: Any) -> Sequence[dg.RunRecord]:
        found = runs(*asked, **more)
        read.extend(each.dagster_run.run_id for each in found if each.dagster_run.is_success)
        return found

    def note_ends(asked: Any, **more: Any) -> dg.EventRecordsResult:
        found = ends(asked, **more)
        if getattr(asked, "event_type", asked) is dg.DagsterEventType.RUN_SUCCESS:
            read.extend(each.run_id for each in found.records)
        return found

    monkeypatch.setattr(instance, "get_run_records", note_runs)
    monkeypatch.setattr(instance, "fetch_run_status_changes", note_ends)
    tick()
    assert box.titles() == []
    assert len(read) == len(set(read)) == 4, "each success of the job is read once"


@pytest.mark.parametrize("runs_since", [3, 6])
def test_a_success_among_more_runs_than_one_page(
    tick: Tick,
    box: Inbox,
    fail: Callable[..., dg.DagsterRun],
    succeed: Callable[..., dg.DagsterRun],
    monkeypatch: pytest.MonkeyPatch,
    runs_since: int,
) -> None:
    """It is found on a later page; beyond the last page nobody knows, so people are told."""
    monkeypatch.setattr(successes, "PAGE", 2)
    monkeypatch.setattr(successes, "MOST_PAGES", 3)
    day = {"dagster/partition": str(yesterday())}

    def tell() -> list[str]:
        fail(tags={**NO_RETRY, **day})
        tick()
        return box.titles()

    def succeed_for_others() -> None:
        for _ in range(runs_since):
            succeed(**{"dagster/partition": "2020-01-01"})

    assert tell() == ["Signal: checks_job failed"]
    succeed(**day)
    succeed_for_others()
    assert tell() == ["Signal: checks_job failed"]
    succeed_for_others()
    assert tell() == (["Signal: checks_job failed"] if runs_since == 6 else [])


def test_a_success_of_a_run_that_was_created_before_the_failed_one(
    tick: Tick,
    box: Inbox,
    fail: Callable[..., dg.DagsterRun],
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
    mine: dict[str, str],
    succeed: Callable[..., dg.DagsterRun],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What counts is when it succeeded."""
    monkeypatch.setattr(successes, "PAGE", 2)
    long = start_run(instance, defs, "checks_job", tags=mine)
    succeed(**{"dagster/partition": "2020-01-01"})
    fail(tags=NO_RETRY)
    tick()
    assert box.titles() == ["Signal: checks_job failed"]
    succeed(**{"dagster/partition": "2020-01-01"})
    instance.handle_new_event(ended_well(long))
    fail(tags=NO_RETRY)
    tick()
    assert box.titles() == ["Signal: checks_job failed"]
    fail(tags=NO_RETRY)
    tick()
    assert box.titles() == []


def test_a_run_of_checks_that_the_ui_started(
    tick: Tick,
    box: Inbox,
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
    mine: dict[str, str],
) -> None:
    """It has no job of ours and selects no asset, and its failure is told like any other."""
    run, _ = launched.create_run_of_checks(
        instance,
        defs.resolve_implicit_global_asset_job_def(),
        frozenset([dg.AssetCheckKey(APP, "grain_is_unique")]),
        status=dg.DagsterRunStatus.STARTED,
        tags={**NO_RETRY, **mine},
    )
    instance.report_run_failed(run)
    tick()
    assert box.titles() == ["Signal: __ASSET_JOB failed"]


def test_told_again_after_a_day(
    tick: Tick, box: Inbox, fail: Callable[..., dg.DagsterRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing job is told again after a day."""
    for _ in range(2):
        fail(tags=NO_RETRY)
        tick()
    assert len(box.titles()) == 1
    monkeypatch.setattr(failure_alerts, "REPEAT_SECONDS", 0)
    fail(tags=NO_RETRY)
    tick()
    assert len(box.titles()) == 1


def test_runs_of_others(
    tick: Tick, box: Inbox, fail: Callable[..., dg.DagsterRun], instance: dg.DagsterInstance
) -> None:
    """Runs of others are not told."""
    target = LoadableTargetOrigin(python_file="/elsewhere.py")
    location = ManagedGrpcPythonEnvCodeLocationOrigin(target, "elsewhere")
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), "checks_job")
    fail(tags={**NO_RETRY, LOCK_TAG: "elsewhere"}, remote_job_origin=origin)

    @dg.asset
    def orders() -> None:
        raise ValueError

    assert not dg.materialize([orders], instance=instance, raise_on_error=False).success
    for _ in range(2):
        tick()
    assert box.titles() == []


def test_a_run_of_a_command_that_failed_while_the_database_was_away(
    tick: Tick, box: Inbox, fail: Callable[..., dg.DagsterRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the database tells whose run it is, so it is told when the database is back."""
    tick()
    with monkeypatch.context() as away:
        away.setenv("SIGNAL_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/signal")
        fail(tags=NO_RETRY)
        tick()
        assert box.titles() == []
    tick()
    assert box.titles() == ["Signal: checks_job failed"]
    tick()
    assert box.titles() == []


def test_a_failure_that_is_stored_late(
    tick: Tick,
    box: Inbox,
    fail: Callable[..., dg.DagsterRun],
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its event has an earlier number than one that was seen before."""
    tick()
    late = fail(tags=NO_RETRY).run_id
    fail("raw_events_job", tags=NO_RETRY)
    fetch = instance.fetch_run_status_changes

    def fetch_others(*asked: Any, **more: Any) -> dg.EventRecordsResult:
        found = fetch(*asked, **more)
        return found._replace(records=[each for each in found.records if each.run_id != late])

    with monkeypatch.context() as not_yet:
        not_yet.setattr(instance, "fetch_run_status_changes", fetch_others)
        tick()
        assert box.titles() == ["Signal: raw_events_job failed"]
    tick()
    assert box.titles() == ["Signal: checks_job failed"]
    tick()
    assert box.titles() == []


def test_more_failures_than_one_page(
    tick: Tick, box: Inbox, fail: Callable[..., dg.DagsterRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each job is told once, however many runs have failed since the last look."""
    monkeypatch.setattr(failure_alerts, "PAGE", 2)
    tick()
    for job in ("checks_job", "checks_job", "raw_events_job", "raw_events_job", "rollups_job"):
        fail(job, tags=NO_RETRY)
    tick()
    assert sorted(box.titles()) == [
        f"Signal: {job} failed" for job in ("checks_job", "raw_events_job", "rollups_job")
    ]


def test_the_state_of_an_older_version() -> None:
    """What is red and what waits to be sent is kept, so nobody hears of it twice or never."""
    queue = {"0": {"failures": 2, "messages": [{"title": "a", "text": "b"}]}}
    old = {
        "seen_until": 1_790_000_000.5,
        "seen": {"run": 1_790_000_000.5},
        "retrying": {"run": 1_790_000_000.5},
        "told": {"checks_job None": 1_790_000_000.5},
        "red": ["grain_is_unique of daily_app_activity"],
        "queues": queue,
    }
    state = read_state(json.dumps(old))
    assert state.red == old["red"]
    assert [message.title for message in state.queues["0"].messages] == ["a"]
    assert state.last_event is None
