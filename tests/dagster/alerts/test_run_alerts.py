"""One message when a run has failed for good."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from support.alerts import NO_RETRY, Tick, start_run
from support.days import today, yesterday
from support.inbox import Inbox

from signal_pipeline.dagster import alert_sensor
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
    monkeypatch.setattr(alert_sensor, "RETRY_PATIENCE_SECONDS", -1)
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


def ended_well(run: dg.DagsterRun) -> dg.EventLogEntry:
    """The event by which a run ends."""
    event = dg.DagsterEvent(event_type_value="PIPELINE_SUCCESS", job_name=run.job_name)
    return dg.EventLogEntry(
        error_info=None,
        level=logging.INFO,
        user_message="",
        run_id=run.run_id,
        timestamp=time.time(),
        job_name=run.job_name,
        dagster_event=event,
    )


def test_told_again_after_a_day(
    tick: Tick, box: Inbox, fail: Callable[..., dg.DagsterRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing job is told again after a day."""
    for _ in range(2):
        fail(tags=NO_RETRY)
        tick()
    assert len(box.titles()) == 1
    monkeypatch.setattr(alert_sensor, "REPEAT_SECONDS", 0)
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
