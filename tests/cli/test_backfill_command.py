"""The command `backfill`, as a user runs it: a real process."""

from __future__ import annotations

import pytest
from conftest import Fill
from support.commands import Signal, last_json
from support.days import days_ago, tomorrow, yesterday

from signal_pipeline.postgres.database import Connection

pytestmark = pytest.mark.embedded_only


def test_backfill_builds_refuses_and_says_so(signal: Signal, fill: Fill) -> None:
    fill(yesterday())
    plan = signal(
        "backfill",
        "--from",
        yesterday(),
        "--to",
        tomorrow(),
        "--plan",
        "--json",
        SIGNAL_DAGSTER_DATABASE_URL=None,
    )
    assert plan.returncode == 0
    assert last_json(plan)["refused"] == [{"day": str(tomorrow()), "reason": "after today"}]
    days = last_json(signal("status", "--json"))["days"]
    assert {state for day in days for state in day["rollups"].values()} == {"missing"}  # type: ignore[attr-defined]


def test_a_backfill_of_which_one_day_fails_fails(
    signal: Signal, fill: Fill, connection: Connection
) -> None:
    for day in (days_ago(2), yesterday()):
        fill(day)
    connection.execute(
        "alter table signal.daily_app_activity add check (activity_date"
        f" <> '{days_ago(2)}') not valid"  # type: ignore[arg-type]
    )
    done = signal("backfill", "--from", days_ago(2), "--to", yesterday(), "--json")
    value = last_json(done)
    assert (done.returncode, value["built"]) == (1, [str(yesterday())])
    assert [refused["day"] for refused in value["refused"]] == [str(days_ago(2))]  # type: ignore[attr-defined]
    assert f"{days_ago(2)}: refused: " in done.stderr
    # What the plan refuses is no failure, unless nothing else is built.
    assert signal("backfill", "--from", yesterday(), "--to", tomorrow()).returncode == 0
    assert signal("backfill", "--from", tomorrow(), "--to", tomorrow()).returncode == 1


def test_a_plan_shows_the_difference_and_changes_nothing(
    signal: Signal, fill: Fill, connection: Connection
) -> None:
    fill(yesterday())
    done = signal(
        "backfill", "--from", yesterday(), "--to", yesterday(), "--plan", "--diff", "--json"
    )
    assert done.returncode == 0
    value = last_json(done)
    assert (value["built"], value["would_build"]) == ([], [str(yesterday())])
    assert len(value["differences"]) == 6  # type: ignore[arg-type]
    first = value["differences"][0]  # type: ignore[index]
    assert (first["stored_events"], first["computed_events"]) == (0, 25)
    assert "6 of 6 rollup days would change; nothing was changed now" in done.stderr
    assert connection.execute("select count(*) from signal.daily_app_activity").fetchone() == (0,)
    assert signal("backfill", "--from", yesterday(), "--to", yesterday(), "--diff").returncode == 2


def test_a_plan_names_a_rollup_that_cannot_be_computed(
    signal: Signal, fill: Fill, connection: Connection
) -> None:
    fill(yesterday())
    connection.execute("alter table signal.daily_os_activity add other integer not null")
    done = signal(
        "backfill", "--from", yesterday(), "--to", yesterday(), "--plan", "--diff", "--json"
    )
    assert done.returncode == 0
    (failed,) = last_json(done)["not_computed"]  # type: ignore[attr-defined]
    assert (failed["day"], failed["rollup"]) == (str(yesterday()), "daily_os_activity")
    assert "a build would fail, daily_os_activity: " in done.stderr
    assert "5 of 6 rollup days would change; nothing was changed now" in done.stderr
