"""Migrating any number of times, by any number of processes.

The start date never excludes data.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from conftest import START_DATE, Fill
from support.commands import run_command
from support.days import days_ago, today
from support.revisions import configured, migrate_to
from support.stored import count
from support.waits import until

from signal_pipeline.dagster.partitions import first_partition
from signal_pipeline.days.calendar import NotMigratedError, stored_start_date
from signal_pipeline.postgres.database import (
    Connection,
    Database,
    DatabaseError,
    DatabaseUnreachableError,
)
from signal_pipeline.postgres.locks import MIGRATE_LOCK, transaction_lock
from signal_pipeline.postgres.query import query
from signal_pipeline.rollups.models import Models
from signal_pipeline.schema.migrate import (
    NewerSchemaError,
    StartDateError,
    migrate,
)
from signal_pipeline.settings import FIRST_START_DATE, MAX_DAYS, Settings

SHAPE = """
select 'column', table_name, column_name, data_type, is_nullable, column_default, collation_name
from information_schema.columns where table_schema in ('signal', 'signal_reporting')
union all
select 'index', tablename, indexname, indexdef, null, null, null from pg_indexes where schemaname = 'signal'
union all
select 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid), null, null, null
from pg_trigger where not tgisinternal and tgrelid::regclass::text like 'signal.%'
union all
select 'function', proname, md5(prosrc), prosecdef::text, null, null, null
from pg_proc where pronamespace = 'signal'::regnamespace
order by 1, 2, 3, 4, 5, 6, 7
"""


@pytest.fixture(autouse=True)
def _no_start_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGNAL_START_DATE")


def shape(connection: Connection) -> list[tuple[object, ...]]:
    return connection.execute(SHAPE).fetchall()  # type: ignore[call-overload, no-any-return]


def test_a_second_migration_changes_nothing(
    empty: Database, models: Models, tmp_path: Path
) -> None:
    settings = configured(empty, tmp_path)
    migrate(empty, settings, models)
    with empty.connect() as connection:
        first = shape(connection)
        assert stored_start_date(connection) == days_ago(180)
        connection.execute("select signal.ensure_day(%s)", [today()])
        migrate(empty, settings, models)
        connection.execute("drop table signal.events_" + today().strftime("%Y%m%d"))  # type: ignore[arg-type]
        assert shape(connection) == first
        tables = {row[1] for row in first if row[0] == "column"}
        assert {"events", "event_keys", "days", "books", "receipts", "audit", *models} <= tables
        assert {f"{name}_by_type" for name in models} <= tables


def test_an_up_to_date_schema_needs_no_alembic(environment: Settings, tmp_path: Path) -> None:
    program = (
        "import atexit, sys; from signal_pipeline.cli import main\n"
        "atexit.register(lambda: print('alembic' in sys.modules, 'sqlalchemy' in sys.modules))\n"
        "main()"
    )
    done = run_command("migrate", cwd=tmp_path, program=program)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "False False")


def test_the_schema_names_alembics_newest_migration(connection: Connection) -> None:
    """The newest migration is found by the names of the files, without Alembic."""
    config = Config()
    config.set_main_option("script_location", "signal_pipeline.schema:migrations")
    newest = ScriptDirectory.from_config(config).get_current_head()
    ((comment,),) = connection.execute(
        "select obj_description('signal'::regnamespace, 'pg_namespace')"
    ).fetchall()
    assert f"migration {newest}," in comment


def test_a_comment_does_not_vouch_for_tables_that_are_not_there(
    database: Database, connection: Connection, settings: Settings, models: Models
) -> None:
    """An interrupted restore has made the schema and its comment, and some tables."""
    connection.execute("delete from signal.alembic_version")
    with pytest.raises(DatabaseError, match="42P07"):
        migrate(database, settings, models)


def test_a_version_that_waits_for_a_later_one_changes_nothing(
    database: Database, connection: Connection, settings: Settings, models: Models
) -> None:
    """While the later version migrates, the schema still looks as the earlier one wants it."""
    failed: list[Exception] = []

    def try_it() -> None:
        try:
            migrate(database, settings, models)
        except NewerSchemaError as error:
            failed.append(error)

    with connection.transaction():
        transaction_lock(connection, MIGRATE_LOCK)
        connection.execute("update signal.alembic_version set version_num = '9999'")
        connection.execute("comment on schema signal is 'a later one'")
        earlier = threading.Thread(target=try_it)
        earlier.start()
        waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
        with database.connect() as other:
            until(lambda: count(other, waiting), "the earlier version waits")
    earlier.join()
    assert "the schema has migration 9999" in str(failed[0])
    ((comment,),) = connection.execute(
        "select obj_description('signal'::regnamespace, 'pg_namespace')"
    ).fetchall()
    assert comment == "a later one"


def test_builds_of_before_began_with_their_last_one(
    empty: Database, models: Models, tmp_path: Path
) -> None:
    migrate_to(empty, "0002")
    with empty.connect() as connection:
        connection.execute(
            "insert into signal.builds values ('2026-01-02', 'daily_app_activity', 1, 'x',"
            " 'duckdb', 1, 1, 1, '2026-01-03')"
        )
        migrate(empty, configured(empty, tmp_path), models)
        assert (
            count(
                connection, "select count(*) from signal.builds where first_built_at = '2026-01-03'"
            )
            == 1
        )


def test_bots_of_before_are_in_no_family(empty: Database, models: Models, tmp_path: Path) -> None:
    migrate_to(empty, "0003")
    with empty.connect() as connection:
        connection.execute(
            "insert into signal.books values ('2026-01-02', 'cms', 'a', 'dropped', 'bot', 3),"
            " ('2026-01-02', 'cms', 'b', 'dropped', 'bot', 4), ('2026-01-02', 'cms', 'b',"
            " 'dropped', 'malformed', 9), ('2026-01-03', 'cms', 'b', 'accepted', '', 5)"
        )
        migrate(empty, configured(empty, tmp_path), models)
        rows = connection.execute("select * from signal.bots").fetchall()
        assert rows == [
            (date(2026, 1, 2), "cms", *["(not recorded)"] * 3, 7, datetime(2026, 1, 2, tzinfo=UTC))
        ]
        assert count(connection, "select count(*) from signal.intake") == 0


def test_views_of_before_lose_their_times_to_come(
    empty: Database, models: Models, tmp_path: Path
) -> None:
    settings = configured(empty, tmp_path)
    late = "select max(built_at) > now() from signal_reporting.rollup_days"
    migrate_to(empty, "0013")
    with empty.connect() as connection:
        connection.execute("select signal.ensure_day(%s)", [days_ago(2)])
        connection.execute(
            "insert into signal.builds values (%s, 'old_activity', 1, 'x', 'duckdb', 1, 1, 1,"
            " now() + interval '1 year')",
            [days_ago(2)],
        )
        connection.execute(
            "create function signal.guard_rollup() returns trigger language plpgsql as"
            " 'begin return null; end'; create table signal.old_activity (activity_date date);"
            " create trigger guard_insert after insert"
            " on signal.old_activity execute function signal.guard_rollup()"
        )
        assert connection.execute(late).fetchone() == (True,)
        migrate(empty, settings, models)
        assert connection.execute(late).fetchone() == (False,)


def test_a_rollup_that_was_removed_before_lacks_no_day(
    empty: Database, models: Models, tmp_path: Path
) -> None:
    """Until migration 0015 it was missing on every day after its removal."""
    missing = "select count(*) from signal_reporting.rollup_days where freshness = 'missing'"
    migrate_to(empty, "0014")
    with empty.connect() as connection:
        for day in (days_ago(2), days_ago(1)):
            connection.execute("select signal.ensure_day(%s)", [day])
        connection.execute(
            "insert into signal.builds values (%s, 'old_activity', 1, 'x', 'duckdb', 1, 1, 1, now())",
            [days_ago(2)],
        )
        # The guards are those of this version: `migrate` makes them after the migrations.
        connection.execute(query("signal_pipeline.schema", "guards"))
        connection.execute(
            "create table signal.old_activity (activity_date date);"
            " create trigger guard_insert after insert on signal.old_activity"
            " referencing new table as new_rows"
            " for each statement execute function signal.guard_rollup();"
            " create trigger guard_delete after delete on signal.old_activity"
            " referencing old table as old_rows"
            " for each statement execute function signal.guard_rollup()"
        )
        assert count(connection, missing) == 1
        migrate(empty, configured(empty, tmp_path), models)
        assert count(connection, missing + " and rollup = 'old_activity'") == 0
        assert count(connection, missing) == 2 * len(models)
        assert connection.execute(
            "select day, is_removed from signal_reporting.rollup_days where rollup = 'old_activity'"
        ).fetchall() == [(days_ago(2), True)]


def test_a_day_that_lost_its_partition_before_gets_one(
    empty: Database, models: Models, tmp_path: Path
) -> None:
    """Until migration 0016 its events could not be stored, and it could not be purged."""
    day = days_ago(1)
    lost = f"select count(*) from pg_class where relname = 'events_{day:%Y%m%d}'"
    migrate_to(empty, "0015")
    with empty.connect() as connection:
        connection.execute("select signal.ensure_day(%s)", [day])
        connection.execute(f"drop table signal.events_{day:%Y%m%d}")  # type: ignore[arg-type]
        connection.execute("select signal.ensure_day(%s)", [day])
        assert count(connection, lost) == 0
        migrate(empty, configured(empty, tmp_path), models)
        connection.execute("select signal.ensure_day(%s)", [day])
        assert count(connection, lost) == 1


def test_processes_that_migrate_at_once_agree(
    empty: Database, models: Models, tmp_path: Path
) -> None:
    settings = configured(empty, tmp_path)
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(migrate, empty, settings, models) for _ in range(4)]:
            done.result()
    with empty.connect() as connection:
        assert count(connection, "select count(*) from signal.instance") == 1


def test_the_start_date_is_stored_once_and_does_not_move_by_itself(
    empty: Database, models: Models, tmp_path: Path
) -> None:
    migrate(empty, configured(empty, tmp_path, retention_days=30), models)
    with empty.connect() as connection:
        migrate(empty, configured(empty, tmp_path, retention_days=90), models)
        assert stored_start_date(connection) == days_ago(30)
        migrate(empty, configured(empty, tmp_path, start_date=START_DATE), models)
        migrate(empty, configured(empty, tmp_path), models)
        assert stored_start_date(connection) == START_DATE


def test_the_start_date_of_a_long_retention_is_one_that_the_setting_takes(
    empty: Database, models: Models, tmp_path: Path
) -> None:
    settings = configured(empty, tmp_path, retention_days=MAX_DAYS)
    assert first_partition(settings) == FIRST_START_DATE
    migrate(empty, settings, models)
    with empty.connect() as connection:
        assert stored_start_date(connection) == FIRST_START_DATE


def test_a_start_date_after_days_with_data_is_refused(
    database: Database, connection: Connection, settings: Settings, models: Models, fill: Fill
) -> None:
    day = days_ago(10)
    fill(day)
    with pytest.raises(
        StartDateError, match=f"SIGNAL_START_DATE {day + timedelta(days=1)} is later than days"
    ):
        migrate(
            database, settings.model_copy(update={"start_date": day + timedelta(days=1)}), models
        )
    assert stored_start_date(connection) == START_DATE
    migrate(database, settings.model_copy(update={"start_date": day}), models)
    assert stored_start_date(connection) == day


def test_data_survives_a_migration(
    database: Database, connection: Connection, settings: Settings, models: Models, fill: Fill
) -> None:
    fill(days_ago(2))
    migrate(database, settings, models)
    assert count(connection, "select count(*) from signal.events") == 25


def test_a_failed_migration_leaves_nothing_half_made(
    empty: Database, models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("stopped half way")

    with monkeypatch.context() as patch:
        patch.setattr("signal_pipeline.schema.migrate.migrate_rollups", fail)
        with pytest.raises(RuntimeError):
            migrate(empty, configured(empty, tmp_path), models)
    with empty.connect() as connection:
        assert count(connection, "select count(*) from pg_namespace where nspname = 'signal'") == 0
        with pytest.raises(NotMigratedError, match="signal-pipeline migrate"):
            stored_start_date(connection)
    migrate(empty, configured(empty, tmp_path), models)


@pytest.mark.embedded_only
def test_an_unreachable_server_is_named(empty: Database, models: Models, tmp_path: Path) -> None:
    gone = Database("postgresql://nobody:hidden@127.0.0.1:1/none")
    with pytest.raises(DatabaseUnreachableError) as raised:
        migrate(gone, configured(gone, tmp_path), models)
    assert "hidden" not in str(raised.value)
