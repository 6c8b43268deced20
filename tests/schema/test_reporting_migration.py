"""How `migrate` makes the views of `signal_reporting`, and moves the reader of an older database."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psycopg
import pytest
from conftest import As, Fill
from psycopg import errors, sql
from support.days import days_ago, yesterday
from support.reporting import rows
from support.revisions import migrate_to

from signal_pipeline.errors import SignalError
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.models import Models, load_models
from signal_pipeline.rollups.postgres_engine import PostgresEngine
from signal_pipeline.schema.migrate import migrate
from signal_pipeline.schema.reporting_views import ReportingViewError
from signal_pipeline.settings import Settings

MODELS = Path(__file__).parents[2] / "dbt_like_sql"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of our own models, to change."""
    return shutil.copytree(MODELS, tmp_path / "dbt_like_sql")


def add_rollup(folder: Path, name: str, column: str = "entity_kind") -> Models:
    """Our own models and one more, which is the device's with another name and column."""
    text = (folder / "models/daily_device_activity.sql").read_text()
    (folder / f"models/{name}.sql").write_text(
        text.replace("    device_type,\n", f"    device_type as {column},\n")
    )
    with (folder / "schema.yml").open("a") as schema:
        schema.write(
            f"""
  - name: {name}
    description: By kind. One row per activity_date, app_name, event_type and {column}.
    owner: team:signal
    columns:
      - *activity_date
      - *app_name
      - *event_type
      - {{name: {column}, data_type: text, description: The kind., data_tests: [not_null]}}
      - *events
      - *users
      - *sessions
    data_tests:
      - dbt_utils.unique_combination_of_columns:
          arguments: {{combination_of_columns: [activity_date, app_name, event_type, {column}]}}
      - reconciles_with: {{arguments: {{to: events}}}}
"""
        )
    return load_models(folder)


def test_a_new_rollup_gets_its_views(
    reader: Connection, database: Database, settings: Settings, folder: Path
) -> None:
    migrate(database, settings, add_rollup(folder, "daily_kind_activity"))
    for view, grain in (
        ("daily_kind_activity", ""),
        ("daily_kind_activity_by_type", "event_type, "),
    ):
        found = rows(
            reader,
            "select string_agg(attname, ', ' order by attnum),"
            " bool_and(col_description(attrelid, attnum) <> '') from pg_attribute"
            " where attrelid = %s::regclass and attnum > 0",
            view,
        )
        assert found == [
            (
                f"activity_date, is_partial, app_name, {grain}entity_kind, events, daily_users,"
                " daily_sessions",
                True,
            )
        ]
        assert rows(reader, f"select * from {view}") == []
    rollups = rows(reader, "select distinct rollup from rollup_days")
    assert rollups == []  # There is no day yet.


def states(connection: Connection, rollup: str) -> list[tuple[object, ...]]:
    """What `rollup_days` says of a rollup."""
    return rows(
        connection,
        "select day, freshness, is_removed from rollup_days where rollup = %s order by day",
        rollup,
    )


def test_a_removed_rollup_lacks_no_day_and_nobody_waits_for_it(
    reader: Connection,
    database: Database,
    settings: Settings,
    models: Models,
    folder: Path,
    fill: Fill,
) -> None:
    name, built, stale, new = "daily_kind_activity", days_ago(3), days_ago(2), yesterday()
    with_it = add_rollup(folder, name)
    migrate(database, settings, with_it)
    for day in (built, stale):
        fill(day)
        build_day(database, PostgresEngine(), with_it, day)
    fill(stale, 5, seed=2)
    fill(new)
    lags = "select rollup from rollup_freshness where waits_since is not null"
    is_missing = [(built, "fresh", False), (stale, "stale", False), (new, "missing", False)]
    assert states(reader, name) == is_missing
    assert (name,) in rows(reader, lags)
    for _ in range(2):
        migrate(database, settings, models)
        # What is stored is still labelled, since its views can be read.
        assert states(reader, name) == [(built, "fresh", True), (stale, "stale", True)]
        assert (name,) not in rows(reader, "select rollup from rollup_freshness")
        assert (new, "missing", False) in states(reader, "daily_app_activity")
        assert ("daily_app_activity",) in rows(reader, lags)
    migrate(database, settings, with_it)
    assert states(reader, name) == is_missing


def test_a_login_with_earlier_models_removes_no_rollup(
    reader: Connection,
    database: Database,
    as_role: As,
    settings: Settings,
    models: Models,
    folder: Path,
    fill: Fill,
) -> None:
    migrate(database, settings, add_rollup(folder, "daily_kind_activity"))
    fill(yesterday())
    migrate(as_role("signal_admin"), settings, models)
    assert states(reader, "daily_kind_activity") == [(yesterday(), "missing", False)]


def test_a_view_that_somebody_adds_is_not_shown_to_the_reader(
    database: Database, settings: Settings, models: Models, reader: Connection
) -> None:
    with database.connect() as owner:
        owner.execute("create view signal_reporting.theirs as select * from signal.events")
    migrate(database, settings, models)
    with pytest.raises(errors.InsufficientPrivilege):
        reader.execute("select from theirs")


def test_a_rollup_with_the_name_of_a_view_of_others_is_refused(
    database: Database, settings: Settings, folder: Path
) -> None:
    with database.connect() as owner:
        owner.execute("create view signal_reporting.theirs as select 1 as number")
    with pytest.raises(SignalError, match="theirs (exists with other columns|has the column)"):
        migrate(database, settings, add_rollup(folder, "theirs"))


def test_a_column_with_a_name_of_the_views_is_refused(
    database: Database, settings: Settings, folder: Path
) -> None:
    with pytest.raises(ReportingViewError, match="column is_partial of their own"):
        migrate(database, settings, add_rollup(folder, "daily_kind", "is_partial"))


def test_an_older_database_moves_its_reader(
    server: str, models: Models, settings: Settings
) -> None:
    """The reader of before read the tables; a login of a team's own is in its role."""
    name, login = "signal_before_reporting", f"test_old_reader_{os.getpid()}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {name}")
        old = Database(server.replace("/postgres?", f"/{name}?"))
        theirs = Database(old.url.replace("postgres@", f"{login}@"))
        try:
            migrate_to(old, "0007")
            with old.connect() as owner:
                for statement in (
                    "create table signal.daily_app_activity (activity_date date, app_name text"
                    ' collate "C", event_type text collate "C", events bigint not null, users'
                    " bigint not null, sessions bigint not null,"
                    " primary key (activity_date, app_name, event_type))",
                    "insert into signal.daily_app_activity values"
                    " (current_date, 'cms', '(all)', 3, 2, 1)",
                    "create view signal.daily_app_activity_by_type as"
                    " select * from signal.daily_app_activity",
                    "create view signal.daily_os_activity_by_type as select 1 as x",
                    "create view public.theirs as select * from signal.daily_os_activity_by_type",
                    f"create role {login} login in role signal_reader",
                    "grant usage on schema signal to signal_reader",
                    "grant select on signal.days, signal.books, signal.daily_app_activity,"
                    " signal.daily_app_activity_by_type to signal_reader",
                ):
                    owner.execute(statement)  # type: ignore[arg-type]
                with theirs.connect() as before:
                    assert rows(before, "select count(*) from signal.days") == [(0,)]
            home = settings.model_copy(update={"database_url": old.url, "start_date": None})
            for _ in range(2):
                migrate(old, home, models)
            with theirs.connect() as after:
                for statement in ("signal.days", "signal.daily_app_activity"):
                    with pytest.raises(errors.InsufficientPrivilege):
                        after.execute(sql.SQL("select from {}").format(sql.SQL(statement)))
                numbers = "select events, daily_users from signal_reporting.daily_app_activity"
                assert rows(after, numbers) == [(3, 2)]
            with old.connect() as owner:
                assert rows(owner, "select * from public.theirs") == [(1,)]
                left = rows(
                    owner,
                    "select viewname from pg_views where schemaname = 'signal' and viewname ~ '_by_type$'",
                )
                assert left == [("daily_os_activity_by_type",)]
        finally:
            connection.execute(f"drop database {name} with (force)")
            connection.execute(f"drop role if exists {login}")
