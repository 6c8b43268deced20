"""A failure that was told is news again after a success of the same job, days and rollups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import dagster as dg
import pytest
from conftest import Fill
from dagster._core.events import StepMaterializationData
from psycopg import sql
from support.alerts import APP, NO_RETRY, Tell, Tick, ended_well, start_run
from support.dagster import Run
from support.days import days_ago, today, yesterday
from support.inbox import Inbox

from signal_pipeline.dagster import successes
from signal_pipeline.dagster.runs import range_tags
from signal_pipeline.postgres.database import Connection

pytestmark = pytest.mark.embedded_only
RANGE_FAILED, CHECKS_FAILED = ["Signal: rollups_job failed"], ["Signal: checks_job failed"]


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
    tell: Tell, instance: dg.DagsterInstance, defs: dg.Definitions, mine: dict[str, str]
) -> None:
    """A run over a range of stale days succeeds for those days only that it built."""
    day = days_ago(3)
    tags = {**range_tags(day, today()), "signal/only_stale": "true"}
    failed = {**tags, "signal/failed_days": str(day)}

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

    assert tell("rollups_job", **failed) == RANGE_FAILED
    succeed(today())
    assert tell("rollups_job", **failed) == []
    succeed(day)
    assert tell("rollups_job", **failed) == RANGE_FAILED


def test_a_success_without_the_rollup_at_fault(
    tell: Tell, succeed: Callable[..., dg.DagsterRun]
) -> None:
    """The other rollups of a live day are built all the time, so their success says nothing."""
    tags = range_tags(today(), today())
    failed = {
        **tags,
        "signal/failed_days": str(today()),
        "signal/failed_rollups": f"{today()}:daily_os_activity",
    }
    assert tell("rollups_job", **failed) == RANGE_FAILED
    succeed("rollups_job", ["daily_app_activity"], **tags)
    assert tell("rollups_job", **failed) == []
    succeed("rollups_job", ["daily_app_activity", "daily_os_activity"], **tags)
    assert tell("rollups_job", **failed) == RANGE_FAILED


@pytest.mark.parametrize(
    ("rollup", "counts"), [("daily_os_activity", True), ("daily_app_activity", False)]
)
def test_a_success_of_a_day_for_the_rollup_that_failed_on_this_day(
    tell: Tell, succeed: Callable[..., dg.DagsterRun], rollup: str, counts: bool
) -> None:
    """Another rollup failed on the next day, which has no part in it."""
    days = [days_ago(2), yesterday()]
    failed = {
        **range_tags(*days),
        "signal/failed_days": ",".join(map(str, days)),
        "signal/failed_rollups": f"{days[0]}:daily_os_activity;{days[1]}:daily_app_activity",
    }
    assert tell("rollups_job", **failed) == RANGE_FAILED
    succeed("rollups_job", [rollup], **{"dagster/partition": str(days[0])})
    assert tell("rollups_job", **failed) == (RANGE_FAILED if counts else [])


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
    tell: Tell,
    succeed: Callable[..., dg.DagsterRun],
    monkeypatch: pytest.MonkeyPatch,
    runs_since: int,
) -> None:
    """It is found on a later page; beyond the last page nobody knows, so people are told."""
    monkeypatch.setattr(successes, "PAGE", 2)
    monkeypatch.setattr(successes, "MOST_PAGES", 3)
    day = {"dagster/partition": str(yesterday())}

    def succeed_for_others() -> None:
        for _ in range(runs_since):
            succeed(**{"dagster/partition": "2020-01-01"})

    assert tell(**day) == CHECKS_FAILED
    succeed(**day)
    succeed_for_others()
    assert tell(**day) == CHECKS_FAILED
    succeed_for_others()
    assert tell(**day) == (CHECKS_FAILED if runs_since == 6 else [])


def test_a_success_of_a_run_that_was_created_before_the_failed_one(
    tell: Tell,
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
    assert tell() == CHECKS_FAILED
    succeed(**{"dagster/partition": "2020-01-01"})
    instance.handle_new_event(ended_well(long))
    assert tell() == CHECKS_FAILED
    assert tell() == []
