"""Days on which one rollup fails: the others are built, and the one is named."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from conftest import Fill
from support.dagster import (
    Run,
    failure_text,
    materialized,
    newest_mark,
    purge,
    refuse_day,
    row_counts,
    rows_of,
)
from support.days import days_ago, due_day, yesterday
from support.own_rollups import add_rollup

from signal_pipeline.dagster.log_alerts import failure_line
from signal_pipeline.dagster.runs import failure_tags
from signal_pipeline.days.freshness import day_statuses
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.privacy.retention import purge_due_days
from signal_pipeline.rollups.build import RollupsFailedError, build_day
from signal_pipeline.rollups.difference import Difference, NotComputed, day_difference
from signal_pipeline.rollups.duckdb_engine import DuckdbEngine
from signal_pipeline.rollups.engine import Engine
from signal_pipeline.rollups.models import Models
from signal_pipeline.rollups.postgres_engine import PostgresEngine
from signal_pipeline.schema.rollup_tables import migrate_rollups
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only
DAY = yesterday()
BAD, OS = "daily_bad_activity", "daily_os_activity"
PROJECT = Path(__file__).parents[2] / "dbt_like_sql"
# A dimension of a team's own rollup that no build can store, and what the error says of it.
REFUSED = {
    "no number": ("cast(cast(app_name as integer) as text)", "InvalidText|ConversionException"),
    "a number that is too large": (
        "cast(cast(length(app_name) as integer) * 2000000000 as text)",
        "NumericValueOutOfRange|OutOfRangeException",
    ),
    "null": ("nullif(app_name, app_name)", "NotNullViolation"),
    "a NUL": (
        "chr(cast(length(app_name) - length(app_name) as integer))",
        "SQLSTATE (22021|54000)",
    ),
    "too long for its key": ("repeat(app_name || event_type, 4000)", "SQLSTATE 54000|CheckViol"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the models, to add one that fails."""
    return shutil.copytree(PROJECT, tmp_path / "dbt_like_sql")


@pytest.fixture(params=["duckdb", "postgres"])
def engine(request: pytest.FixtureRequest, database: Database, settings: Settings) -> Engine:
    """Each engine."""
    if request.param == "duckdb":
        return DuckdbEngine(database.url, settings.tmp_path)
    return PostgresEngine()


def states(connection: Connection, models: Models, day: date) -> dict[str, str]:
    """How fresh each rollup of a day is."""
    (status,) = day_statuses(connection, models.checksums, day, day)
    return dict(status.rollups)


def _limit_length(connection: Connection) -> None:
    """Refuse a made-up value that is too long even if an index could compress it."""
    connection.execute(
        f"alter table signal.{BAD} add check (length(made_up) < 10000)"  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("kind", REFUSED)
def test_a_rollup_that_cannot_be_stored_holds_up_no_other(
    engine: Engine,
    database: Database,
    connection: Connection,
    models: Models,
    folder: Path,
    fill: Fill,
    kind: str,
) -> None:
    value, error = REFUSED[kind]
    added = add_rollup(folder, BAD, {"made_up": value})
    migrate_rollups(connection, added)
    _limit_length(connection)
    fill(DAY)
    with pytest.raises(RollupsFailedError, match=error) as caught:
        build_day(database, engine, added, DAY)
    assert caught.value.build is not None
    assert set(caught.value.build.rows) == set(models)
    assert list(caught.value.failed) == [BAD]
    assert BAD in str(caught.value)
    assert "cms" not in str(caught.value), "an app is a value of an event"
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert states(connection, added, DAY) == {**dict.fromkeys(models, "fresh"), BAD: "missing"}
    # The numbers are those that a build without the bad rollup gives.
    before = {name: rows_of(connection, name, DAY) for name in models}
    build_day(database, engine, models, DAY)
    assert {name: rows_of(connection, name, DAY) for name in models} == before


def test_a_difference_names_a_rollup_that_cannot_be_computed_and_shows_the_others(
    engine: Engine,
    database: Database,
    connection: Connection,
    models: Models,
    folder: Path,
    fill: Fill,
) -> None:
    fill(DAY)
    for value, _ in REFUSED.values():
        added = add_rollup(folder, BAD, {"made_up": value})
        migrate_rollups(connection, added)
        _limit_length(connection)
        *others, bad = day_difference(database, engine, added, DAY)
        assert isinstance(bad, NotComputed)
        assert bad.rollup == BAD
        assert BAD in bad.reason
        assert "cms" not in bad.reason, "an app is a value of an event"
        assert [each.rollup for each in others if isinstance(each, Difference)] == list(models)


def test_a_rollup_that_runs_into_a_limit_of_postgresql_holds_up_no_other(
    database: Database, connection: Connection, models: Models, folder: Path, fill: Fill
) -> None:
    """Another rollup of the day can need less."""
    added = add_rollup(folder, BAD, {"made_up": REFUSED["too long for its key"][0]})
    migrate_rollups(connection, added)
    fill(DAY)
    for limit in ("work_mem = '64kB'", "temp_file_limit = '1kB'"):
        connection.execute(f"alter database {connection.info.dbname} set {limit}")  # type: ignore[arg-type]
    with pytest.raises(RollupsFailedError, match=f"{BAD}: .*SQLSTATE 53400"):
        build_day(database, PostgresEngine(), added, DAY)
    assert states(connection, added, DAY) == {**dict.fromkeys(models, "fresh"), BAD: "missing"}


def test_rows_of_another_day_and_rows_that_do_not_add_up_hold_up_no_other_rollup(
    engine: Engine,
    database: Database,
    connection: Connection,
    models: Models,
    folder: Path,
    fill: Fill,
) -> None:
    own = {name: folder / f"models/{name}.sql" for name in (BAD, "daily_few_activity")}
    for name in own:
        add_rollup(folder, name, {"made_up": "event_type"})
    own[BAD].write_text(own[BAD].read_text().replace("'UTC'", "'America/New_York'"))
    few = own["daily_few_activity"]
    few.write_text(few.read_text().replace("created_at < $2", "created_at < $2 and app_name = 'x'"))
    added = add_rollup(folder, "daily_copy_activity", {})
    migrate_rollups(connection, added)
    fill(DAY)
    planned = {
        each.rollup: each.reason
        for each in day_difference(database, engine, added, DAY)
        if isinstance(each, NotComputed)
    }
    with pytest.raises(RollupsFailedError) as caught:
        build_day(database, engine, added, DAY)
    assert planned == caught.value.failed
    assert f"{BAD} gave" in caught.value.failed[BAD]
    assert "does not add up to the day's 25 events" in caught.value.failed["daily_few_activity"]
    good = {name for name, state in states(connection, added, DAY).items() if state == "fresh"}
    assert good == {*models, "daily_copy_activity"}


def test_a_rollup_that_fails_keeps_its_earlier_rows(
    engine: Engine, database: Database, connection: Connection, models: Models, fill: Fill
) -> None:
    fill(DAY)
    build_day(database, engine, models, DAY)
    before = rows_of(connection, OS, DAY)
    fill(DAY, 5, seed=2)
    _refuse_new_rows(connection)
    with pytest.raises(RollupsFailedError, match=OS):
        build_day(database, engine, models, DAY)
    assert rows_of(connection, OS, DAY) == before
    others = dict.fromkeys(models, "fresh")
    assert states(connection, models, DAY) == {**others, OS: "stale"}


def _refuse_new_rows(connection: Connection) -> None:
    """Let PostgreSQL refuse new rows of the rollup by system."""
    connection.execute(f"alter table signal.{OS} add constraint full_up check (false) not valid")  # type: ignore[arg-type]


@pytest.mark.parametrize("days", [1, 2])
def test_a_run_marks_what_it_built_of_a_day_and_is_red(
    days: int,
    run: Run,
    instance: dg.DagsterInstance,
    fill: Fill,
    connection: Connection,
    models: Models,
) -> None:
    first = days_ago(days)
    for n in range(days):
        fill(days_ago(n + 1))
    refuse_day(connection, DAY)
    result = run("rollups_job", first, DAY if days > 1 else None)
    assert not result.success
    text = failure_text(result)
    assert f"1 day(s) built only in part, {OS}: PostgreSQL refused a statement: CheckV" in text
    good = {str(days_ago(n + 1)) for n in range(days)}
    marked = materialized(instance, result)
    assert marked.pop(OS, set()) == good - {str(DAY)}
    assert marked == dict.fromkeys({"raw_events", *models} - {OS}, good)
    assert len(row_counts(instance, "daily_app_activity", DAY)) == 1
    failed = instance.get_run_by_id(result.run_id)
    assert failed
    assert failed.tags["signal/failed_days"] == str(DAY)
    assert failed.tags["signal/failed_rollups"] == f"{DAY}:{OS}"
    assert f"failed for {DAY} ({OS}):" in failure_line(failed)
    connection.execute(f"alter table signal.{OS} drop constraint broken")  # type: ignore[arg-type]
    assert run("rollups_job", DAY, None, None, [dg.AssetKey(OS)]).success
    assert set(states(connection, models, DAY).values()) == {"fresh"}


def test_a_run_names_the_rollups_that_failed_on_each_day(
    run: Run, instance: dg.DagsterInstance, fill: Fill, connection: Connection
) -> None:
    """Not those of all days together."""
    days = [days_ago(n) for n in (3, 2, 1)]
    for day in days:
        fill(day)
    refuse_day(connection, days[0])
    refuse_day(connection, days[1], "daily_app_activity")
    result = run("rollups_job", days[0], days[-1])
    failed = instance.get_run_by_id(result.run_id)
    assert failed
    assert failed.tags["signal/failed_days"] == f"{days[0]},{days[1]}"
    assert failed.tags["signal/failed_rollups"] == f"{days[0]}:{OS};{days[1]}:daily_app_activity"
    line = failure_line(failed)
    assert f"failed for {days[0]} ({OS}), {days[1]} (daily_app_activity):" in line


def test_days_that_fail_for_the_same_rollups_share_a_group_of_the_tag() -> None:
    days = [days_ago(n) for n in (3, 2, 1)]
    tags = failure_tags(days, {days[0]: [OS, BAD], days[2]: [BAD, OS]})
    assert tags == {
        "signal/failed_days": ",".join(map(str, days)),
        "signal/failed_rollups": f"{days[0]},{days[2]}:{BAD},{OS}",
    }


def test_a_tag_that_is_too_long_for_an_index_of_postgresql_is_left_out() -> None:
    """A row of an index has 2704 bytes. Without the tags, all days of the run count as failed."""
    days = [days_ago(n) for n in range(240)]
    assert failure_tags(days, {}) == {}
    assert list(failure_tags(days[:200], {})) == ["signal/failed_days"]


def test_the_page_of_a_rollup_that_failed_on_the_newest_day_shows_the_newest_that_was_built(
    run: Run, instance: dg.DagsterInstance, fill: Fill, connection: Connection
) -> None:
    for n in (3, 2, 1):
        fill(days_ago(n))
    refuse_day(connection, DAY)
    assert not run("rollups_job", days_ago(3), DAY).success
    for name, day in ((OS, days_ago(2)), ("daily_app_activity", DAY)):
        shown, metadata = newest_mark(instance, name)
        assert shown == str(day)
        assert metadata >= {"trend", "preview"}


def test_a_day_built_in_part_is_not_purged(
    run: Run,
    fill: Fill,
    connection: Connection,
    database: Database,
    models: Models,
) -> None:
    old = due_day()
    fill(old)
    refuse_day(connection, old)
    assert not run("rollups_job", old).success
    kept = purge_due_days(database, models, 180)
    assert kept.purged == []
    connection.execute(f"alter table signal.{OS} drop constraint broken")  # type: ignore[arg-type]
    assert run("rollups_job", old).success
    purge(database, models, old)
