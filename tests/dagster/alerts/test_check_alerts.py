"""One message when a check turns red, and one when it turns green."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from conftest import Fill
from support.alerts import APP, DEVICE, Tick, start_run
from support.dagster import Run
from support.days import days_ago, due_day, yesterday
from support.inbox import Inbox

from faults import launched
from signal_pipeline.postgres.database import Connection
from signal_pipeline.privacy import retention

pytestmark = pytest.mark.embedded_only


def test_red_and_green(
    tick: Tick, box: Inbox, run: Run, fill: Fill, connection: Connection
) -> None:
    """A check is told when it turns red and when it turns green."""
    fill(yesterday(), 200)
    assert run("rollups_job", yesterday()).success

    device, app = "daily_device_activity", "daily_app_activity"
    evaluated = [(device, "device_type_accepted_values"), (app, "grain_is_unique")]

    def checks() -> list[str]:
        assert run("checks_job", None, checks=evaluated).success
        tick()
        return box.titles()

    assert checks() == []
    name = "device_type_accepted_values of daily_device_activity"
    turn_red = (
        "update signal.daily_device_activity set device_type = 'fridge' where device_type ="
        " 'desktop'"
    )
    turn_green = (
        "update signal.daily_device_activity set device_type = 'desktop' where device_type ="
        " 'fridge'"
    )
    for _ in range(2):
        connection.execute(turn_red)
        assert checks() == [f"Signal: {name} is red"]
        assert checks() == [], "it stays red"
        connection.execute(turn_green)
        assert checks() == [f"Signal: {name} is green again"]
        assert checks() == [], "it stays green"


def test_the_last_of_many_evaluations(
    tick: Tick, box: Inbox, evaluate: Callable[..., None]
) -> None:
    """A daemon that was down tells the last of many evaluations."""
    for passed in (True, False, True, False, False):
        evaluate(passed)
        evaluate(not passed, asset=DEVICE)
    tick()
    assert box.titles() == ["Signal: grain_is_unique of daily_app_activity is red"]


def test_a_planned_check(
    tick: Tick,
    box: Inbox,
    evaluate: Callable[..., None],
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
) -> None:
    """A check that is only planned is what it was before."""
    evaluate(False)
    for _ in range(2):
        start_run(instance, defs, "checks_job")
    tick()
    assert box.titles() == ["Signal: grain_is_unique of daily_app_activity is red"]
    start_run(instance, defs, "checks_job")
    tick()
    assert box.titles() == []


def test_a_red_check_under_many_plans(
    tick: Tick,
    box: Inbox,
    evaluate: Callable[..., None],
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
) -> None:
    """A backfill of many days plans a check many times and evaluates it never: it stays red."""
    evaluate(False)
    tick()
    assert box.titles() == ["Signal: grain_is_unique of daily_app_activity is red"]
    job, check = (
        defs.resolve_implicit_global_asset_job_def(),
        {dg.AssetCheckKey(APP, "grain_is_unique")},
    )
    for _ in range(120):
        launched.create_run_of_checks(instance, job, frozenset(check))
    tick()
    evaluate(True)
    tick()
    assert box.titles() == ["Signal: grain_is_unique of daily_app_activity is green again"]


# What the clocks say, how long a raw day is overdue, and how many days the check names.
RETENTION_ALARMS: dict[str, tuple[dict[str, Any], int | None, int]] = {
    "the clocks differ and no day is due": (
        {"database": datetime.now(UTC) + timedelta(days=1)},
        None,
        0,
    ),
    "a day is due by the clock alone": ({"installed": days_ago(366), "seen": frozenset()}, 1, 1),
    "a day is overdue": ({}, 8, 1),
}


@pytest.mark.parametrize(
    ("said", "overdue", "named"), RETENTION_ALARMS.values(), ids=RETENTION_ALARMS.keys()
)
def test_each_alarm_of_the_retention(
    tick: Tick,
    box: Inbox,
    run: Run,
    fill: Fill,
    monkeypatch: pytest.MonkeyPatch,
    said: dict[str, Any],
    overdue: int | None,
    named: int,
) -> None:
    """The message is true in each case in which the check is red."""
    read_clocks = retention.read_clocks
    monkeypatch.setattr(retention, "read_clocks", lambda found: replace(read_clocks(found), **said))
    if overdue:
        fill(due_day(overdue))
    checks = [("expired_raw_events", f"nothing_{state}") for state in ("expired", "overdue")]
    assert run("checks_job", None, checks=checks).success
    tick()
    (text,) = [each["message"] for each in box.messages if "nothing_overdue" in each["title"]]
    assert text == (
        f"check nothing_overdue of expired_raw_events is red, days {named}: raw days are kept past"
        " their retention, or the retention is refused, which is a privacy alarm: see"
        " `signal-pipeline retention --dry-run` for the reason"
    )


def test_a_red_check_that_only_warns_from_now_on(
    tick: Tick, box: Inbox, evaluate: Callable[..., None]
) -> None:
    """It is not green yet, and is told when it is."""
    evaluate(False)
    tick()
    assert box.titles() == ["Signal: grain_is_unique of daily_app_activity is red"]
    evaluate(False, severity=dg.AssetCheckSeverity.WARN)
    tick()
    assert box.titles() == []
    evaluate(True)
    tick()
    assert box.titles() == ["Signal: grain_is_unique of daily_app_activity is green again"]


def test_warnings_and_checks_of_others(
    tick: Tick, box: Inbox, evaluate: Callable[..., None]
) -> None:
    """What warns and checks of others are not told."""
    evaluate(False, severity=dg.AssetCheckSeverity.WARN)
    evaluate(False, asset=dg.AssetKey("orders"))
    evaluate(False, name="of_others")
    tick()
    assert box.titles() == []
