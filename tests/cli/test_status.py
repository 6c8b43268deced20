"""The command `status`, as a user runs it: a real process."""

from __future__ import annotations

import pytest
from conftest import Build, Fill
from support.commands import Signal, last_json
from support.days import RETENTION_DAYS, days_ago, due_day, today, yesterday

from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.privacy.retention import purge_incomplete
from signal_pipeline.rollups.models import Models

pytestmark = pytest.mark.embedded_only


def test_status_shows_events_by_the_books_and_says_so(
    signal: Signal, fill: Fill, connection: Connection
) -> None:
    fill(yesterday(), 12)
    connection.execute(
        "delete from signal.events where id = (select min(id::text)::uuid from signal.events)"
    )
    done = signal("status", "--json")
    assert "by the books" in done.stderr
    assert "by the books" in signal("status", "--help").stdout
    (day,) = last_json(done)["days"]  # type: ignore[misc]
    assert (day["day"], day["events"], day["version"], day["state"]) == (
        str(yesterday()),
        12,
        1,
        "open",
    )
    assert set(day["rollups"].values()) == {"missing"}


def test_status_names_the_days_that_it_does_not_list(signal: Signal, fill: Fill) -> None:
    days = [days_ago(n) for n in (5, 4, 3, 2, 1)]
    fill(days[0])
    fill(days[3])
    done = signal("status", "--json")
    assert [day["day"] for day in last_json(done)["days"]] == [str(days[0]), str(days[3])]  # type: ignore[attr-defined]
    note = (
        f"3 day(s) are not listed: they have neither events nor builds: {days[1]} to"
        f" {days[2]}, {days[4]}"
    )
    assert f"note: {note}" in done.stderr


def test_status_labels_a_day_whose_users_are_not_exact(
    signal: Signal, fill: Fill, connection: Connection
) -> None:
    fill(yesterday())
    assert "labels" not in last_json(signal("status", "--json"))["days"][0]  # type: ignore[index]
    connection.execute("insert into signal.address_gaps values (%s, 'cms', 9, 0)", [yesterday()])
    connection.execute("insert into signal.day_keys values (%s, 'another')", [yesterday()])
    done = signal("status", "--json")
    assert last_json(done)["days"][0]["labels"] == ["degraded", "over-counted"]  # type: ignore[index]
    assert "degraded, over-counted" in done.stderr


def test_status_calls_no_users_exact_that_nobody_counted_or_that_still_grow(
    signal: Signal, fill: Fill, build: Build
) -> None:
    for day in (days_ago(2), yesterday(), today()):
        fill(day)
    for day in (yesterday(), today()):
        build(day)
    table = signal("status").stderr.splitlines()
    users = {text.split()[0]: text.split()[-1] for text in table if text.lstrip()[:2] == "20"}
    assert users == {
        str(days_ago(2)): "unknown",
        str(yesterday()): "exact",
        str(today()): "partial",
    }


def test_status_calls_no_users_exact_that_were_purged_before_they_were_proven_complete(
    signal: Signal, fill: Fill, build: Build, database: Database, models: Models
) -> None:
    day = due_day()
    fill(day)
    build(day)
    fill(day, seed=2)
    purge_incomplete(database, models, day, "a test", RETENTION_DAYS)
    done = signal("status", "--json")
    assert last_json(done)["days"][0]["labels"] == ["incomplete"]  # type: ignore[index]
    (line,) = [text for text in done.stderr.splitlines() if str(day) in text]
    assert line.rstrip().endswith(" incomplete") and "exact" not in line


def test_status_shows_the_newest_days_and_older_ones_that_need_attention(
    signal: Signal, fill: Fill, build: Build
) -> None:
    days = [days_ago(n) for n in range(20, 0, -1)]
    for day in days:
        fill(day, 2)
        if day not in (days[1], days[3], days[-1]):
            build(day)
    build(days[3])
    fill(days[3], 2, seed=2)
    done = signal("status", "--json")
    shown = [text.split()[0] for text in done.stderr.splitlines() if text.startswith((" 2", "2"))]
    # A day that was never built, a stale one, and the newest fourteen, whatever they are.
    assert shown == [str(day) for day in reversed([days[1], days[3], *days[6:]])]
    assert "4 older day(s) need no attention and are not shown (4 fresh, 4 open)" in done.stderr
    assert len(last_json(done)["days"]) == 20  # type: ignore[arg-type]
    few = signal("status", "--days", 1).stderr
    assert "17 older day(s)" in few
    assert str(days[-1]) in few
    assert "not shown" not in signal("status", "--days", 20).stderr
    assert signal("status", "--days", 0).returncode == 2


def test_status_shows_old_days_past_their_retention_and_counts_what_is_wrong_for_ever(
    signal: Signal, fill: Fill, build: Build, connection: Connection
) -> None:
    overdue, degraded, newest = (days_ago(n) for n in (30, 20, 1))
    for day in (overdue, degraded, newest):
        fill(day, 2)
        build(day)
    connection.execute("insert into signal.address_gaps values (%s, 'cms', 9, 0)", [degraded])
    shown = signal("status", "--days", 1, SIGNAL_RETENTION_DAYS="25").stderr
    assert f"{overdue} " in shown
    assert f"{degraded} " not in shown
    assert (
        "1 older day(s) need no attention and are not shown (1 degraded, 1 fresh, 1 open)" in shown
    )
