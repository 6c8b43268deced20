"""What a message holds, and how it reaches each address."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest
from support.alerts import APP, DEVICE, NO_RETRY, Tick
from support.days import yesterday
from support.inbox import Inbox, open_inbox

from signal_pipeline.dagster import alert_state
from signal_pipeline.settings import SettingsError

pytestmark = pytest.mark.embedded_only


def test_what_a_message_holds(
    tick: Tick, box: Inbox, evaluate: Callable[..., None], fail: Callable[..., dg.DagsterRun]
) -> None:
    """A message holds counts and what to do and nothing that a check has found."""
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
        tags={**NO_RETRY, "signal/catch_up": "true", "dagster/partition": str(yesterday())},
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
        f"run {run.run_id} of nightly_job failed for {yesterday()}..{yesterday()}; the"
        " checks and the retention that it did not reach are to get runs of their own:"
    )
    assert [message["type"] for message in box.messages] == ["failure"] * 3


def test_an_address_that_takes_nothing(
    tick: Tick,
    box: Inbox,
    evaluate: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: Any,
    capfd: Any,
) -> None:
    """An address that takes nothing holds up no other and gets its messages once when it does."""
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


def test_given_up_messages(
    tick: Tick,
    box: Inbox,
    evaluate: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capfd: Any,
) -> None:
    """What is never taken is given up."""
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


def test_without_the_variable(tick: Tick, evaluate: Callable[..., None]) -> None:
    """Without the variable nobody is told."""
    evaluate(False)
    assert tick() == "SIGNAL_ALERT_URLS is not set"


def test_a_wrong_address(tick: Tick, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong address is an error that does not show it."""
    monkeypatch.setenv("SIGNAL_ALERT_URLS", "json://127.0.0.1, nonsense://hidden/path")
    with pytest.raises(
        SettingsError, match=r"SIGNAL_ALERT_URLS: address 2 of 2 is not one"
    ) as refused:
        tick()
    assert "hidden" not in str(refused.value)
