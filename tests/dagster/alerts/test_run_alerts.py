"""One message when a run has failed for good."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, time
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from support.alerts import APP, NO_RETRY, SetClock, Tell, Tick
from support.days import today, yesterday
from support.inbox import Inbox

from faults import launched
from signal_pipeline.dagster import failure_alerts
from signal_pipeline.dagster.alert_state import read_state
from signal_pipeline.dagster.runs import LOCK_TAG

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


def test_a_job_that_keeps_failing(tell: Tell, succeed: Callable[..., dg.DagsterRun]) -> None:
    """A job that keeps failing is told once until it succeeds."""
    before, now = ({"dagster/partition": str(day)} for day in (yesterday(), today()))
    assert tell("rollups_job", **before) == ["Signal: rollups_job failed"]
    assert tell("rollups_job", **before) == []
    another_day = tell("rollups_job", **now)
    assert another_day == ["Signal: rollups_job failed"], "another day is another failure"
    assert tell("raw_events_job", **before) == ["Signal: raw_events_job failed"]
    succeed("rollups_job", **before)
    assert tell("rollups_job", **before) == ["Signal: rollups_job failed"]
    assert tell("rollups_job", **now) == []


def test_a_run_of_checks_that_the_ui_started(
    tick: Tick, box: Inbox, instance: dg.DagsterInstance, defs: dg.Definitions, mine: dict[str, str]
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


def test_told_again_after_a_day(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing job is told again after a day."""
    assert len(tell()) == 1
    assert tell() == []
    monkeypatch.setattr(failure_alerts, "REPEAT_SECONDS", 0)
    assert len(tell()) == 1


def test_a_job_without_days_that_fails_a_little_earlier_the_next_night(
    tell: Tell, set_clock: SetClock
) -> None:
    """Each night is news; the same night is told of once."""
    now = datetime.now(UTC)
    to_noon = (datetime.combine(today(), time(12), UTC) - now).total_seconds()
    title = ["Signal: retention_job failed"]
    set_clock(to_noon)
    assert tell("retention_job") == title
    set_clock(to_noon + 600)
    assert tell("retention_job") == []
    set_clock(to_noon + 86_400 - 300)
    assert tell("retention_job") == title
    set_clock(to_noon + 86_400 - 200)
    assert tell("retention_job") == []


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
