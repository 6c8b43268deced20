"""Alerts by a real sensor, on a real instance, to a real server.

There is one message for each change, and none reveals too much.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import pytest
from conftest import Fill
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from support.dagster import TODAY, YESTERDAY, Run
from support.inbox import Inbox, open_inbox

from signal_pipeline.dagster import alert_sensor, alert_state
from signal_pipeline.dagster.run_locks import lock_space
from signal_pipeline.dagster.runs import LOCK_TAG
from signal_pipeline.postgres.database import Connection
from signal_pipeline.settings import Settings, SettingsError

pytestmark = pytest.mark.embedded_only
Tick = Callable[[], str]
APP, DEVICE = dg.AssetKey("daily_app_activity"), dg.AssetKey("daily_device_activity")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """An instance that tries a failed run once more, as ours does."""
    retries = {
        "run_retries": {"enabled": True, "max_retries": 1, "retry_on_asset_or_op_failure": False}
    }
    with dg.DagsterInstance.ephemeral(settings=retries) as ephemeral:
        yield ephemeral


@pytest.fixture
def box(environment: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    """The destination of the alerts."""
    with open_inbox() as opened:
        monkeypatch.setenv("SIGNAL_ALERT_URLS", opened.url)
        yield opened


@pytest.fixture
def tick(environment: Settings, instance: dg.DagsterInstance, defs: dg.Definitions) -> Tick:
    """Evaluates the sensor once, with the cursor of the last tick.

    Returns what it says.
    """
    cursor: list[str | None] = [None]

    def evaluate() -> str:
        context = dg.build_sensor_context(
            instance=instance, definitions=defs, cursor=cursor[0], resources=defs.resources or {}
        )
        with context:
            result = defs.resolve_sensor_def("alerts_sensor")(context)
        assert isinstance(result, dg.SkipReason)
        cursor[0] = context.cursor
        assert "Kw2" not in f"{cursor[0]} {result}"
        return result.skip_message or ""

    return evaluate


@pytest.fixture
def evaluate(instance: dg.DagsterInstance) -> Callable[..., None]:
    """Stores an evaluation of a check."""

    def store(
        passed: bool, name: str = "grain_is_unique", asset: dg.AssetKey = APP, **more: Any
    ) -> None:
        found = dg.AssetCheckEvaluation(asset_key=asset, check_name=name, passed=passed, **more)
        instance.report_runless_asset_event(found)

    return store


@pytest.fixture
def mine(connection: Connection) -> dict[str, str]:
    """The tag of a run that has taken its lock in our database."""
    return {LOCK_TAG: lock_space(connection)}


@pytest.fixture
def fail(
    instance: dg.DagsterInstance, defs: dg.Definitions, mine: dict[str, str]
) -> Callable[..., dg.DagsterRun]:
    """Fails a run of a job as Dagster does when its process is gone."""

    def run_and_fail(
        job: str = "checks_job", *, tags: dict[str, str] | None = None, **more: Any
    ) -> dg.DagsterRun:
        run = start(instance, defs, job, tags=mine | (tags or {}), **more)
        instance.report_run_failed(run, "private-text of an error")
        return run

    return run_and_fail


def start(
    instance: dg.DagsterInstance, defs: dg.Definitions, job: str, **more: Any
) -> dg.DagsterRun:
    return instance.create_run_for_job(
        defs.resolve_job_def(job), status=dg.DagsterRunStatus.STARTED, **more
    )


NO_RETRY = {"dagster/max_retries": "0"}


def test_a_check_is_told_when_it_turns_red_and_when_it_turns_green(
    tick: Tick, box: Inbox, run: Run, fill: Fill, connection: Connection
) -> None:
    fill(YESTERDAY, 200)
    assert run("rollups_job", YESTERDAY).success

    def checks() -> list[str]:
        assert run("checks_job", None).success
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


def test_a_daemon_that_was_down_tells_the_last_of_many_evaluations(
    tick: Tick, box: Inbox, evaluate: Callable[..., None]
) -> None:
    for passed in (True, False, True, False, False):
        evaluate(passed)
        evaluate(not passed, asset=DEVICE)
    tick()
    assert box.titles() == ["Signal: grain_is_unique of daily_app_activity is red"]


def test_a_check_that_is_only_planned_is_what_it_was_before(
    tick: Tick,
    box: Inbox,
    evaluate: Callable[..., None],
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
) -> None:
    evaluate(False)
    for _ in range(2):
        start(instance, defs, "checks_job")
    tick()
    assert box.titles() == ["Signal: grain_is_unique of daily_app_activity is red"]
    start(instance, defs, "checks_job")
    tick()
    assert box.titles() == []


def test_what_warns_and_checks_of_others_are_not_told(
    tick: Tick, box: Inbox, evaluate: Callable[..., None]
) -> None:
    evaluate(False, severity=dg.AssetCheckSeverity.WARN)
    evaluate(False, asset=dg.AssetKey("orders"))
    evaluate(False, name="of_others")
    tick()
    assert box.titles() == []


def test_a_message_holds_counts_and_what_to_do_and_nothing_that_a_check_has_found(
    tick: Tick, box: Inbox, evaluate: Callable[..., None], fail: Callable[..., dg.DagsterRun]
) -> None:
    found = {
        "faults": 3,
        "apps": dg.MetadataValue.md("private-app"),
        "first": "private-route",
        "share": 0.5,
    }
    evaluate(False, metadata=found, description="private-file.ndjson waits")
    evaluate(
        False,
        name="nothing_overdue",
        asset=dg.AssetKey("expired_raw_events"),
        metadata={"days": ["private-1", "2"]},
    )
    run = fail(
        "nightly_job",
        tags={**NO_RETRY, "signal/catch_up": "true", "dagster/partition": str(YESTERDAY)},
    )
    tick()
    texts = [message["message"] for message in box.messages]
    assert "private" not in str(box.messages)
    assert (
        texts[0]
        == "check grain_is_unique of daily_app_activity is red, faults 3: open it in the Dagster"
        " UI, which says what to do"
    )
    assert texts[1].startswith(
        "check nothing_overdue of expired_raw_events is red, days 2: raw days are kept past"
    )
    assert "signal-pipeline retention --dry-run" in texts[1]
    assert texts[2].startswith(
        f"run {run.run_id} of nightly_job failed for {YESTERDAY}..{YESTERDAY}; its checks and"
    )
    assert [message["type"] for message in box.messages] == ["failure"] * 3


def test_a_run_is_told_when_its_last_retry_has_failed(
    tick: Tick, box: Inbox, fail: Callable[..., dg.DagsterRun], instance: dg.DagsterInstance
) -> None:
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
def test_a_retry_that_is_not_made_after_all_is_a_failure(
    tick: Tick,
    box: Inbox,
    fail: Callable[..., dg.DagsterRun],
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    tag: str,
) -> None:
    run = fail()
    tick()
    assert box.titles() == []
    instance.add_run_tags(run.run_id, {"dagster/will_retry": tag})
    monkeypatch.setattr(alert_sensor, "RETRY_PATIENCE_SECONDS", -1)
    for _ in range(2):
        tick()
    assert box.titles() == ["Signal: checks_job failed"]


def test_a_job_that_keeps_failing_is_told_once_until_it_succeeds(
    tick: Tick,
    box: Inbox,
    fail: Callable[..., dg.DagsterRun],
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
    mine: dict[str, str],
) -> None:
    def tell(day: object, job: str = "rollups_job") -> list[str]:
        fail(job, tags={**NO_RETRY, "dagster/partition": str(day)})
        tick()
        return box.titles()

    assert tell(YESTERDAY) == ["Signal: rollups_job failed"]
    assert tell(YESTERDAY) == []
    assert tell(TODAY) == ["Signal: rollups_job failed"], "another day is another failure"
    assert tell(YESTERDAY, "raw_events_job") == ["Signal: raw_events_job failed"]
    well = start(instance, defs, "rollups_job", tags={**mine, "dagster/partition": str(YESTERDAY)})
    instance.handle_new_event(ended_well(well))
    assert tell(YESTERDAY) == ["Signal: rollups_job failed"]
    assert tell(TODAY) == []


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


def test_a_failing_job_is_told_again_after_a_day(
    tick: Tick, box: Inbox, fail: Callable[..., dg.DagsterRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        fail(tags=NO_RETRY)
        tick()
    assert len(box.titles()) == 1
    monkeypatch.setattr(alert_sensor, "REPEAT_SECONDS", 0)
    fail(tags=NO_RETRY)
    tick()
    assert len(box.titles()) == 1


def test_runs_of_others_are_not_told(
    tick: Tick, box: Inbox, fail: Callable[..., dg.DagsterRun], instance: dg.DagsterInstance
) -> None:
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


def test_an_address_that_takes_nothing_holds_up_no_other_and_gets_its_messages_once_when_it_does(
    tick: Tick,
    box: Inbox,
    evaluate: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: Any,
    capfd: Any,
) -> None:
    caplog.set_level(logging.DEBUG)
    with open_inbox() as other:
        monkeypatch.setenv("SIGNAL_ALERT_URLS", f"{box.url}, {other.url}")
        box.closed = True
        evaluate(False)
        evaluate(False, asset=DEVICE)
        for _ in range(3):
            tick()
        names = [
            f"Signal: grain_is_unique of {key.to_user_string()} is red" for key in (APP, DEVICE)
        ]
        assert other.titles() == names
        assert (box.titles(), box.asked) == ([], 3)
        said = capfd.readouterr().err
        assert said.count("WARNING") == 1, said
        assert "address 1 of 2 (JSON) of SIGNAL_ALERT_URLS takes no message" in said
        box.closed = False
        tick()
        tick()
        assert (box.titles(), other.titles()) == (names, [])
    for hidden in ("Kw27", "Kw28", box.url.split("/")[2]):
        assert hidden not in caplog.text + said


def test_what_is_never_taken_is_given_up(
    tick: Tick,
    box: Inbox,
    evaluate: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capfd: Any,
) -> None:
    monkeypatch.setattr(alert_state, "MAX_FAILURES", 3)
    box.closed = True
    evaluate(False)
    for _ in range(5):
        tick()
    assert box.asked == 3
    assert "1 given up" in capfd.readouterr().err
    box.closed = False
    evaluate(True)
    tick()
    assert box.titles() == ["Signal: grain_is_unique of daily_app_activity is green again"]


def test_without_the_variable_nobody_is_told(tick: Tick, evaluate: Callable[..., None]) -> None:
    evaluate(False)
    assert tick() == "SIGNAL_ALERT_URLS is not set"


def test_a_wrong_address_is_an_error_that_does_not_show_it(
    tick: Tick, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNAL_ALERT_URLS", "json://127.0.0.1, nonsense://hidden/path")
    with pytest.raises(
        SettingsError, match=r"SIGNAL_ALERT_URLS: address 2 of 2 is not one"
    ) as refused:
        tick()
    assert "hidden" not in str(refused.value)
