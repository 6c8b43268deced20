"""`dbt-sources` describes the views that are there, and `rollup_freshness` says which lag behind."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import START_DATE, Build, Fill
from support.commands import run_command
from support.days import days_ago, today
from support.stored import install_on

from signal_pipeline.catalogue.load import load_catalogue
from signal_pipeline.dagster.due_builds import LONGEST_GAP
from signal_pipeline.postgres.database import Connection
from signal_pipeline.rollups.models import Model
from signal_pipeline.schema.dbt_sources import sources_yml

EXAMPLE = Path(__file__).parents[2] / "examples" / "dbt_weekly" / "models" / "signal_sources.yml"
Models = dict[str, Model]

COLUMNS = """
select a.attname::text, format_type(a.atttypid, a.atttypmod), col_description(a.attrelid, a.attnum)
from pg_attribute as a
where a.attrelid = to_regclass(%s) and a.attnum > 0 and not a.attisdropped
order by a.attnum
"""


@pytest.fixture
def tables(models: Models) -> dict[str, dict[str, Any]]:
    """The tables of the file by name."""
    (source,) = yaml.safe_load(sources_yml(models, load_catalogue()))["sources"]
    assert (source["name"], source["schema"]) == ("signal", "signal_reporting")
    return {table["name"]: table for table in source["tables"]}


def test_every_table_is_a_view_that_its_text_describes(
    connection: Connection, models: Models, tables: dict[str, dict[str, Any]]
) -> None:
    views = {name for model in models for name in (model, f"{model}_by_type")}
    assert set(tables) == views | {"days", "rollup_days"}
    for name, table in tables.items():
        view = f"signal_reporting.{name}"
        comment = connection.execute("select obj_description(to_regclass(%s))", [view]).fetchone()
        assert comment == (table["description"],)
        if name in views:
            found = connection.execute(COLUMNS, [view]).fetchall()  # type: ignore[arg-type]
            wanted = [(c["name"], c["data_type"], c["description"]) for c in table["columns"]]
            assert found == wanted


def test_tests_are_in_the_words_of_dbt(tables: dict[str, dict[str, Any]]) -> None:
    def test_of(table: str, column: str) -> list[Any]:
        return next(c["data_tests"] for c in tables[table]["columns"] if c["name"] == column)

    def unique(table: str) -> str:
        (test,) = tables[table]["data_tests"]
        return str(test["unique"]["arguments"]["column_name"])

    assert unique("daily_route_activity") == "(activity_date, app_name, route)"
    assert unique("daily_route_activity_by_type") == "(activity_date, app_name, event_type, route)"
    assert unique("rollup_days") == "(day, rollup)"
    assert test_of("daily_app_activity", "is_partial") == ["not_null"]
    not_null, values = test_of("daily_app_activity_by_type", "event_type")
    assert not_null == "not_null"
    # What the view cannot hold would be a wrong list for whoever reads it.
    assert values["accepted_values"]["arguments"]["values"] == list(load_catalogue().event_types)
    assert all(column["name"] != "event_type" for column in tables["daily_app_activity"]["columns"])


def test_keys_are_those_of_our_assets(models: Models) -> None:
    (source,) = yaml.safe_load(sources_yml(models, load_catalogue(), ("team", "signal")))["sources"]
    keys = {t["name"]: t["config"]["meta"]["dagster"]["asset_key"] for t in source["tables"]}
    assert keys["daily_os_activity"] == ["team", "signal", "daily_os_activity"]
    assert keys["daily_os_activity_by_type"] == ["team", "signal", "daily_os_activity"]
    assert keys["days"] == keys["rollup_days"] == ["team", "signal", "raw_events"]


def test_the_example_has_the_file_that_the_command_prints(tmp_path: Path) -> None:
    changes = {"SIGNAL_ENV": "development", "SIGNAL_DATABASE_URL": None, "SIGNAL_CATALOGUE": None}
    done = run_command("dbt-sources", cwd=tmp_path, **changes)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == EXAMPLE.read_text(), (
        "run `signal-pipeline dbt-sources > examples/dbt_weekly/models/signal_sources.yml`"
    )


ROLLUP = "daily_app_activity"
# The other tests show of each server that it takes the SQL of the two views.
once = pytest.mark.embedded_only


def end_of(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC)


def freshness(connection: Connection, rollup: str = ROLLUP) -> datetime | None:
    """Since when the rollup waits; None if it does not."""
    row = connection.execute(
        "select waits_since, fresh_until, now() from signal_reporting.rollup_freshness"
        " where rollup = %s",
        [rollup],
    ).fetchone()
    assert row is not None
    since, until, now = row
    assert until == (since or now)
    return since  # type: ignore[no-any-return]


def _set_times(
    connection: Connection, day: date, *, built_at: datetime, changed_at: datetime
) -> None:
    connection.execute(
        "update signal.builds set built_at = %s, first_built_at = %s where day = %s",
        [built_at, built_at, day],
    )
    connection.execute("update signal.days set changed_at = %s where day = %s", [changed_at, day])


@pytest.fixture
def changed(connection: Connection, fill: Fill, build: Build) -> datetime:
    """Three built days of four; their events last changed at this time."""
    for day in (days_ago(5), days_ago(4), days_ago(2)):
        fill(day)
        build(day)
    then = datetime.now(UTC) - timedelta(hours=5)
    connection.execute("update signal.days set changed_at = %s", [then])
    return then


def test_a_day_without_a_row_waits_from_its_end(
    connection: Connection, changed: datetime, build: Build
) -> None:
    install_on(connection, days_ago(9))
    assert freshness(connection) == end_of(days_ago(3))
    build(days_ago(3))
    assert freshness(connection) == end_of(days_ago(1))
    build(days_ago(1))
    assert freshness(connection) is None


@once
def test_a_day_without_a_row_from_before_the_installation_is_not_waited_for(
    connection: Connection, changed: datetime, build: Build
) -> None:
    """No night builds it, so the rollup would never be fresh again."""
    assert freshness(connection) is None
    install_on(connection, days_ago(1))
    assert freshness(connection) == end_of(days_ago(1))


@once
def test_late_events_do_not_make_a_day_look_fresh_that_no_night_built(
    connection: Connection, changed: datetime, fill: Fill, build: Build
) -> None:
    """Days from before the installation came as old files, so that they wait from then."""
    build(days_ago(3))
    fill(days_ago(1))
    just_now = datetime.now(UTC) - timedelta(minutes=1)
    connection.execute(
        "update signal.days set changed_at = %s where day = %s", [just_now, days_ago(1)]
    )
    assert freshness(connection) == max(just_now, end_of(days_ago(1)))
    connection.execute("update signal.instance set created_at = now() - interval '9 days'")
    assert freshness(connection) == end_of(days_ago(1))


@once
def test_days_before_the_first_and_of_a_long_silence_are_nobodys_fault(
    connection: Connection, fill: Fill, build: Build
) -> None:
    install_on(connection, START_DATE)
    fill(days_ago(LONGEST_GAP.days + 20))
    build(days_ago(LONGEST_GAP.days + 20))
    # A nightly run builds the gaps of this time, and no older ones.
    assert freshness(connection) == end_of(days_ago(1) - LONGEST_GAP)


@once
def test_a_changed_day_waits_from_its_change(
    connection: Connection, changed: datetime, fill: Fill, build: Build
) -> None:
    for day in (days_ago(3), days_ago(1)):
        build(day)
    fill(days_ago(4), 3, 9)
    then = datetime.now(UTC) - timedelta(minutes=1)
    _set_times(connection, days_ago(4), built_at=then - timedelta(hours=1), changed_at=then)
    assert freshness(connection) == then
    _set_times(connection, days_ago(4), built_at=then, changed_at=then - timedelta(hours=1))
    assert freshness(connection) == then
    build(days_ago(4))
    assert freshness(connection) is None


@once
def test_today_waits_from_its_last_build(
    connection: Connection, changed: datetime, fill: Fill, build: Build
) -> None:
    for day in (days_ago(3), days_ago(1)):
        build(day)
    fill(today())
    build(today())
    assert freshness(connection) is None
    fill(today(), 3, 9)
    then = datetime.now(UTC) - timedelta(hours=2)
    connection.execute("update signal.builds set built_at = %s where day = %s", [then, today()])
    assert freshness(connection) == then


@once
def test_a_changed_model_makes_the_other_days_wait_from_its_first_build(
    connection: Connection, changed: datetime, build: Build
) -> None:
    for day in (days_ago(3), days_ago(1)):
        build(day)
    connection.execute(
        "update signal.builds set model_checksum = 'older', built_at = now() - interval '1 day'"
        " where day = %s and rollup = %s",
        [days_ago(4), ROLLUP],
    )
    first = connection.execute(
        "select min(first_built_at) from signal.builds where rollup = %s and day <> %s",
        [ROLLUP, days_ago(4)],
    ).fetchone()
    assert first == (freshness(connection),)


@once
def test_a_purged_day_waits_for_nothing(connection: Connection, changed: datetime) -> None:
    install_on(connection, days_ago(9))
    connection.execute("update signal.days set state = 'purged'")
    connection.execute("delete from signal.builds where day = %s", [days_ago(4)])
    assert freshness(connection) == end_of(days_ago(3))


@once
def test_a_rollup_that_was_never_built_is_not_fresh(
    connection: Connection, changed: datetime
) -> None:
    """dbt takes null for the year 1."""
    connection.execute("delete from signal.builds where rollup = %s", [ROLLUP])
    row = connection.execute(
        "select fresh_until from signal_reporting.rollup_freshness where rollup = %s", [ROLLUP]
    ).fetchone()
    assert row == (None,)


AHEAD = timedelta(days=365)


def test_a_build_by_a_clock_that_was_ahead_does_not_say_which_model_is_the_newest(
    connection: Connection, changed: datetime, build: Build
) -> None:
    """Each build of the present model would look stale until the clocks are there."""
    for day in (days_ago(3), days_ago(1)):
        build(day)
    ahead = datetime.now(UTC) + AHEAD
    _set_times(connection, days_ago(4), built_at=ahead, changed_at=changed)
    connection.execute(
        "update signal.builds set model_checksum = 'older' where day = %s", [days_ago(4)]
    )
    assert _states(connection) == {days_ago(4): "stale", days_ago(2): "fresh"}
    first = connection.execute(
        "select min(first_built_at) from signal.builds where rollup = %s", [ROLLUP]
    ).fetchone()
    assert first == (freshness(connection),)
    # If all builds are of a time to come, the last of them is by the newest model.
    connection.execute(
        "update signal.builds set built_at = %s where day <> %s",
        [ahead - timedelta(hours=1), days_ago(4)],
    )
    assert _states(connection) == {days_ago(4): "fresh", days_ago(2): "stale"}


def _states(connection: Connection) -> dict[date, str]:
    found = connection.execute(
        "select day, freshness from signal_reporting.rollup_days"
        " where rollup = %s and day = any(%s)",
        [ROLLUP, [days_ago(4), days_ago(2)]],
    )
    return dict(found.fetchall())


def test_no_time_is_later_than_now(
    connection: Connection, changed: datetime, fill: Fill, build: Build
) -> None:
    for day in (days_ago(3), days_ago(1)):
        build(day)
    fill(days_ago(4), 3, 9)
    ahead = datetime.now(UTC) + AHEAD
    _set_times(connection, days_ago(4), built_at=ahead, changed_at=changed)
    # When it was built is not known, but since when it has waited is.
    assert freshness(connection) == changed
    _set_times(connection, days_ago(4), built_at=ahead, changed_at=ahead)
    connection.execute(
        "delete from signal.builds where day = %s and rollup <> %s", [days_ago(1), ROLLUP]
    )
    assert connection.execute(
        "select bool_and(greatest(d.built_at, d.first_built_at, f.newest_build_at, f.fresh_until)"
        " <= now()), bool_and(f.waits_since = now()) filter (where rollup = %s),"
        " bool_or(d.built_at is null) from signal_reporting.rollup_days as d"
        " join signal_reporting.rollup_freshness as f using (rollup)",
        [ROLLUP],
    ).fetchone() == (True, True, True)
