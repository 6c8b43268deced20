"""Probes on their own: what must not turn a check red."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import date, timedelta
from unittest.mock import Mock

import pytest
from conftest import Fill
from support.days import days_ago, today, yesterday
from support.stored import install_on

from signal_pipeline.dagster.probes import stale_builds
from signal_pipeline.dagster.probes.book_balance import books_reconcile
from signal_pipeline.dagster.probes.stale_builds import no_day_waits, yesterday_is_built
from signal_pipeline.days.calendar import window
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.duckdb_engine import DuckdbEngine
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import Settings

ROLLUP = "daily_app_activity"


@pytest.mark.embedded_only
def test_a_missing_yesterday_is_no_fault_on_the_day_of_the_installation(
    connection: Connection, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    checksums, clock = models.checksums, Mock()
    monkeypatch.setattr(stale_builds, "datetime", clock)
    clock.now.return_value = window(today())[0] + timedelta(hours=2)
    assert yesterday_is_built(connection, checksums).passed
    connection.execute("update signal.instance set created_at = now() - interval '3 days'")
    finding = yesterday_is_built(connection, checksums)
    assert not finding.passed
    assert "no row at all" in finding.message


@pytest.mark.embedded_only
def test_yesterday_has_an_hour_after_its_last_change_to_be_built(
    connection: Connection, models: Models, fill: Fill
) -> None:
    fill(yesterday(), 5)
    assert yesterday_is_built(connection, models.checksums).passed
    connection.execute("update signal.days set changed_at = now() - interval '61 minutes'")
    assert not yesterday_is_built(connection, models.checksums).passed


@pytest.mark.embedded_only
@pytest.mark.parametrize(("ahead", "passed"), [("50 minutes", True), ("2 hours", False)])
def test_a_change_that_lies_ahead_silences_no_alarm(
    connection: Connection, models: Models, fill: Fill, ahead: str, passed: bool
) -> None:
    """A clock that was ahead left it there; a clock that is a little ahead does no harm."""
    fill(yesterday(), 5)
    connection.execute("update signal.days set changed_at = now() + %s::interval", [ahead])
    assert yesterday_is_built(connection, models.checksums).passed == passed
    built(connection, yesterday(), "old", 0)
    connection.execute("update signal.days set version = version + 1")
    assert waits(connection, "old") == ([] if passed else [str(yesterday())])


@pytest.mark.embedded_only
def test_a_yesterday_without_a_row_has_an_hour_after_its_end(
    connection: Connection, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock at which today has just begun, or has begun an hour ago."""
    install_on(connection, days_ago(9))
    clock = Mock()
    monkeypatch.setattr(stale_builds, "datetime", clock)
    for minutes, passed in [(30, True), (61, False)]:
        clock.now.return_value = window(today())[0] + timedelta(minutes=minutes)
        assert yesterday_is_built(connection, models.checksums).passed == passed


def built(connection: Connection, day: date, model: str, minutes_ago: int) -> None:
    """Record a first build of a day's present version, as if it had been made then."""
    connection.execute(
        "insert into signal.builds (day, rollup, version, model_checksum, engine, rows, raw_events,"
        " seconds, built_at, first_built_at) select day, %s, version, %s, 'postgres', 1, 5, 1, at,"
        " at from signal.days, (select now() - %s * interval '1 minute' as at) as ago where day ="
        " %s on conflict (day, rollup) do update set version = excluded.version, model_checksum ="
        " excluded.model_checksum, built_at = excluded.built_at, first_built_at ="
        " excluded.first_built_at",
        [ROLLUP, model, minutes_ago, day],
    )


@pytest.fixture
def three_old_days(connection: Connection, fill: Fill) -> list[date]:
    """The three days before today, and today.

    The three changed two days ago, and the model `old` built them then.
    """
    days = [days_ago(n) for n in (3, 2, 1)]
    for day in (*days, today()):
        fill(day, 5)
        built(connection, day, "old", 2_880)
    connection.execute("update signal.days set changed_at = now() - interval '2 days'")
    return days


def waits(connection: Connection, model: str) -> list[str]:
    """The days that the probe names, none if it is green."""
    finding = no_day_waits(connection, {ROLLUP: model})
    days: list[str] = finding.figures.get("days", [])
    assert finding.passed == (not days)
    return days


@pytest.mark.embedded_only
def test_a_changed_model_makes_days_wait_from_its_first_build(
    connection: Connection, three_old_days: list[date]
) -> None:
    first, second, third = three_old_days
    assert waits(connection, "old") == []
    # A model that was loaded a moment ago looks the same as one that cannot build. Today's build is
    # not of an old day.
    assert waits(connection, "new") == [str(first), str(second), str(third)]
    built(connection, today(), "new", 1)
    assert waits(connection, "new") == [str(first), str(second), str(third)]
    built(connection, third, "new", 50)
    assert waits(connection, "new") == []
    built(connection, third, "new", -300)  # By a clock that was ahead.
    assert waits(connection, "new") == [str(first), str(second)]
    built(connection, third, "new", 70)
    built(connection, second, "new", 5)
    assert waits(connection, "new") == [str(first)]


@pytest.mark.embedded_only
def test_a_model_that_comes_back_is_waited_for_from_then(
    connection: Connection, three_old_days: list[date]
) -> None:
    _first, second, third = three_old_days
    for day in (second, third):
        built(connection, day, "new", 1_440)
    built(connection, third, "old", 10)
    # The day before them keeps its build by the old model, which does not say when that model came
    # back.
    assert waits(connection, "old") == []
    built(connection, third, "old", 100)
    assert waits(connection, "old") == [str(second)]


@pytest.mark.embedded_only
def test_an_event_is_waited_for_from_its_own_time_whatever_the_model(
    connection: Connection, three_old_days: list[date]
) -> None:
    first, second, third = three_old_days
    built(connection, third, "new", 10)
    connection.execute("update signal.days set version = version + 1 where day = %s", [first])
    connection.execute("delete from signal.builds where day = %s", [second])
    assert waits(connection, "new") == [str(first), str(second)]


@pytest.mark.embedded_only
def test_a_day_that_goes_on_changing_must_have_been_built_since_its_end(
    connection: Connection, three_old_days: list[date]
) -> None:
    """Its last change is never long ago. A late event alone is no reason to worry."""
    install_on(connection, days_ago(9))
    _first, second, third = three_old_days
    connection.execute(
        "update signal.days set version = version + 1, changed_at = now() where day < %s", [third]
    )
    connection.execute(
        "update signal.builds set built_at = day::timestamp at time zone 'UTC' + case"
        " when day = %s then interval '20 hours' else interval '25 hours' end",
        [second],
    )
    assert waits(connection, "old") == [str(second)]


@pytest.mark.embedded_only
def test_a_day_of_an_old_file_is_not_waited_for_from_its_end(
    connection: Connection, fill: Fill
) -> None:
    fill(days_ago(9), 5)
    assert waits(connection, "old") == []


@pytest.mark.embedded_only
def test_a_new_rollup_is_waited_for_from_its_first_build(
    connection: Connection, three_old_days: list[date]
) -> None:
    connection.execute("delete from signal.builds")
    built(connection, three_old_days[2], "new", 10)
    assert waits(connection, "new") == []
    built(connection, three_old_days[2], "new", 100)
    assert waits(connection, "new") == [str(day) for day in three_old_days[:2]]


@pytest.mark.embedded_only
def test_a_rebuild_does_not_excuse_the_days_that_wait(
    database: Database,
    connection: Connection,
    settings: Settings,
    models: Models,
    three_old_days: list[date],
) -> None:
    first, second, third = three_old_days
    model = models[ROLLUP]
    engine = DuckdbEngine(database.url, settings.tmp_path)
    build_day(database, engine, {ROLLUP: model}, third)
    assert waits(connection, model.checksum) == []
    connection.execute(
        "update signal.builds set built_at = built_at - interval '2 hours',"
        " first_built_at = first_built_at - interval '2 hours' where day = %s",
        [third],
    )
    # The second day was never built.
    connection.execute("delete from signal.builds where day = %s", [second])
    build_day(database, engine, {ROLLUP: model}, third)
    assert waits(connection, model.checksum) == [str(first), str(second)]
    # Fresh days do not excuse a day beside them that was never built.
    build_day(database, engine, {ROLLUP: model}, first)
    build_day(database, engine, {ROLLUP: model}, third)
    assert waits(connection, model.checksum) == [str(second)]
    # Another model starts afresh.
    build_day(database, engine, {ROLLUP: replace(model, checksum="new")}, third)
    assert waits(connection, "new") == []


@pytest.mark.embedded_only
def test_raw_events_are_held_against_books_and_builds(
    connection: Connection, three_old_days: list[date]
) -> None:
    first, second, third = three_old_days
    assert books_reconcile(connection).passed
    lost = (
        "delete from signal.events where ctid = (select min(ctid) from signal.events where"
        " created_at >= %(day)s::date"
    )
    lost += (
        " and created_at < %(day)s::date + 1) and created_at >= %(day)s::date and created_at <"
        " %(day)s::date + 1"
    )
    connection.execute(lost, {"day": first})
    # If the loss is removed from the books as well, the build that counted the events reveals it.
    connection.execute(lost, {"day": second})
    connection.execute(
        "update signal.books set events = events - 1 where (day, app_name, event_type) = (select"
        " day, app_name, event_type from signal.books where day = %s and outcome = 'accepted' limit"
        " 1) and outcome = 'accepted'",
        [second],
    )
    connection.execute(
        "insert into signal.events select (jsonb_populate_record(e, jsonb_build_object('id',"
        " gen_random_uuid()))).* from signal.events as e where created_at >= %s::date and"
        " created_at < %s::date + 1 limit 1",
        [third, third],
    )
    finding = books_reconcile(connection)
    assert finding.figures["days"] == {
        str(first): "books 5, raw 4, built from 5",
        str(second): "books 4, raw 4, built from 5",
        str(third): "books 5, raw 6, built from 5",
    }


def test_the_store_loads_without_the_ingest() -> None:
    code = (
        "import sys, signal_pipeline.dagster.probes.book_balance; sys.exit('signal_pipeline.ingest.pipeline' in"
        " sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
