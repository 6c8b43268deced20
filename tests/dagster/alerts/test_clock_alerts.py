"""Failed runs are told whatever the clock said: perhaps twice, but never not at all."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg
import pytest
from support.alerts import NO_RETRY, SetClock, Tell, Tick
from support.inbox import Inbox

from signal_pipeline.dagster import failure_alerts

pytestmark = pytest.mark.embedded_only

HOUR, YEAR = 3600, 366 * 86_400
CHECKS, EVENTS = ["Signal: checks_job failed"], ["Signal: raw_events_job failed"]


def test_a_clock_that_was_ahead_for_a_failed_run(
    tell: Tell, tick: Tick, box: Inbox, set_clock: SetClock
) -> None:
    """The clock is right again: what fails now is told, once."""
    set_clock(YEAR)
    assert tell("raw_events_job") == EVENTS
    set_clock(0)
    assert tell() == CHECKS
    tick()
    assert box.titles() == [], "neither run is told at each tick"


def test_a_clock_that_was_ahead_at_a_tick(
    tick: Tick, box: Inbox, fail: Callable[..., dg.DagsterRun], set_clock: SetClock
) -> None:
    """What failed before the clock jumped and was not seen then is told after the jump."""
    fail(tags=NO_RETRY)
    set_clock(YEAR)
    tick()
    assert box.titles() == []
    set_clock(0)
    tick()
    assert box.titles() == CHECKS
    tick()
    assert box.titles() == []


@pytest.mark.parametrize("ticked_before", [False, True])
def test_a_run_that_fails_long_before_the_look_after_a_false_clock(
    tick: Tick,
    box: Inbox,
    fail: Callable[..., dg.DagsterRun],
    set_clock: SetClock,
    ticked_before: bool,
) -> None:
    """It is told, once, though the sensor did not look for two hours."""
    if ticked_before:
        tick()
    set_clock(YEAR)
    tick()
    set_clock(-2 * HOUR)
    fail(tags=NO_RETRY)
    set_clock(0)
    tick()
    assert box.titles() == CHECKS
    tick()
    assert box.titles() == []


def test_a_run_on_a_machine_whose_clock_is_ahead(
    tell: Tell, tick: Tick, box: Inbox, set_clock: SetClock
) -> None:
    """It is told once, and hides no failure of another machine."""
    set_clock(HOUR, of_runs_alone=True)
    assert tell("raw_events_job") == EVENTS
    assert tell("raw_events_job") == [], "it keeps failing"
    set_clock(0)
    assert tell() == CHECKS
    tick()
    assert box.titles() == []


@pytest.mark.parametrize("behind", [20 * 60, 3 * HOUR, YEAR])
def test_a_run_on_a_machine_whose_clock_is_behind(
    tell: Tell, tick: Tick, box: Inbox, set_clock: SetClock, behind: float
) -> None:
    """It is told although other failures, whose ends seem to be later, have been seen."""
    assert tell("raw_events_job") == EVENTS
    set_clock(-behind, of_runs_alone=True)
    assert tell() == CHECKS
    tick()
    assert box.titles() == []


def test_a_success_on_a_machine_whose_clock_is_behind(
    tell: Tell, set_clock: SetClock, succeed: Callable[..., dg.DagsterRun]
) -> None:
    """It makes the next failure news, though it seems to be older than the last."""
    assert tell() == CHECKS
    set_clock(-HOUR)
    succeed()
    set_clock(0)
    assert tell() == CHECKS


def test_a_success_after_the_clock_was_set_back(
    tell: Tell, set_clock: SetClock, succeed: Callable[..., dg.DagsterRun]
) -> None:
    """A clock that was five minutes ahead hides no success, so the next failure is news."""
    set_clock(300)
    assert tell() == CHECKS
    set_clock(0)
    succeed()
    assert tell() == CHECKS


def test_a_retry_that_was_awaited_when_the_clock_was_ahead(
    tick: Tick,
    box: Inbox,
    fail: Callable[..., dg.DagsterRun],
    instance: dg.DagsterInstance,
    set_clock: SetClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The wait for a retry that is never made ends by the right clock too."""
    set_clock(YEAR)
    run = fail()
    tick()
    instance.add_run_tags(run.run_id, {"dagster/will_retry": "true"})
    set_clock(0)
    tick()
    assert box.titles() == [], "the retry can still come"
    monkeypatch.setattr(failure_alerts, "RETRY_PATIENCE_SECONDS", -1)
    tick()
    assert box.titles() == CHECKS
