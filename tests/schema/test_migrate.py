"""Migrating any number of times, by any number of processes.

The start date never excludes data.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from conftest import START_DATE, Fill
from psycopg import sql
from support.commands import run_command
from support.days import days_ago, today
from support.revisions import migrate_to
from support.stored import count
from support.waits import until

from signal_pipeline.days.calendar import NotMigratedError, stored_start_date
from signal_pipeline.postgres.database import (
    Connection,
    Database,
    DatabaseError,
    DatabaseUnreachableError,
)
from signal_pipeline.postgres.locks import MIGRATE_LOCK, transaction_lock
from signal_pipeline.postgres.urls import with_database
from signal_pipeline.rollups.models import Models
from signal_pipeline.schema.migrate import (
    NewerSchemaError,
    NotOwnerError,
    StartDateError,
    migrate,
    missing_roles,
)
from signal_pipeline.settings import Settings

_numbers = itertools.count(1)

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


@pytest.fixture
def empty(server: str) -> Iterator[Database]:
    """An empty database of its own."""
    name = f"signal_empty_{next(_numbers)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {name}")
        yield Database(with_database(server, name))
        connection.execute(f"drop database {name} with (force)")


def configured(database: Database, home: Path, **changes: object) -> Settings:
    values = {
        "database_url": database.url,
        "env": "development",
        "home": home,
        "start_date": None,
        **changes,
    }
    return Settings(_env_file=None, **values)  # type: ignore[arg-type]


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


def test_the_admin_may_ask_for_a_migration_that_has_nothing_to_do(
    empty: Database, models: Models, tmp_path: Path
) -> None:
    settings = configured(empty, tmp_path)
    migrate(empty, settings, models)
    login = f"test_migrating_admin_{os.getpid()}"
    admin = Database(empty.url.replace("postgres@", f"{login}@"))
    with empty.connect() as connection:
        connection.execute(f"create role {login} login in role signal_admin")  # type: ignore[arg-type]
        try:
            migrate(admin, settings, models)
            with pytest.raises(NotOwnerError, match="as its owner"):
                migrate(admin, settings.model_copy(update={"start_date": START_DATE}), models)
            connection.execute("alter table signal.daily_app_activity disable trigger guard_delete")
            with pytest.raises(NotOwnerError, match="as its owner"):
                migrate(admin, settings, models)
            migrate(empty, settings, models)
            migrate(admin, settings, models)
            connection.execute("comment on schema signal is 'of an older version'")
            with pytest.raises(NotOwnerError, match="as its owner"):
                migrate(admin, settings, models)
        finally:
            connection.execute(f"drop role {login}")  # type: ignore[arg-type]


RIGHTS = """
select has_table_privilege('signal_writer', 'signal.audit', 'insert'),
    has_function_privilege('public', 'signal.ensure_day(date)', 'execute'),
    has_function_privilege('signal_api', 'signal.ensure_day(date)', 'execute'),
    has_table_privilege('signal_api', 'signal.events', 'select'),
    has_table_privilege('signal_api', 'signal.audit', 'insert'),
    has_function_privilege('signal_api', 'signal.audit_read(bytea, bigint)', 'execute'),
    has_table_privilege('signal_api', 'signal_reporting.daily_app_activity', 'select')
"""


def test_a_database_of_before_the_apis_role_gets_it(
    empty: Database, models: Models, tmp_path: Path
) -> None:
    settings = configured(empty, tmp_path)
    migrate(empty, settings, models)
    with empty.connect() as connection:
        connection.execute("alter role signal_api rename to test_api_away")
        try:
            connection.execute("grant insert on signal.audit to signal_writer, signal_admin")
            connection.execute("grant execute on function signal.ensure_day(date) to public")
            connection.execute("comment on schema signal is 'of an older version'")
            migrate(empty, settings, models)
            assert connection.execute(RIGHTS).fetchone() == (
                False,
                False,
                True,
                True,
                False,
                True,
                True,
            )
            assert missing_roles(empty) == []
        finally:
            connection.execute("drop owned by signal_api")
            connection.execute("drop role signal_api")
            connection.execute("alter role test_api_away rename to signal_api")


def test_an_owner_who_may_not_make_roles_gives_those_of_the_server_their_rights(
    empty: Database, models: Models, tmp_path: Path
) -> None:
    """On a server of several databases, another login can have made the roles.

    Then nobody else is allowed to manage them.
    """
    migrate(empty, configured(empty, tmp_path), models)
    owned = Database(empty.url.replace("postgres@", "test_other_owner@"))
    with empty.connect() as connection:
        connection.execute("drop schema signal, signal_reporting cascade")
        connection.execute("create role test_other_owner login")
        connection.execute("revoke signal_reader from signal_api")
        connection.execute("alter role signal_builder rename to test_builder_away")
        name = sql.Identifier(connection.info.dbname)
        try:
            connection.execute(sql.SQL("alter database {} owner to test_other_owner").format(name))
            for _ in range(2):
                migrate(owned, configured(owned, tmp_path), models)
            assert missing_roles(owned) == ["signal_builder", "signal_api in signal_reader"]
            # It lacks the rights that it would have only as a member of the reader.
            assert connection.execute(RIGHTS).fetchone() == (
                False,
                False,
                True,
                True,
                False,
                True,
                False,
            )
            connection.execute("alter role test_builder_away rename to signal_builder")
            migrate(empty, configured(empty, tmp_path), models)
            assert missing_roles(owned) == []
            assert connection.execute(RIGHTS).fetchone() == (
                False,
                False,
                True,
                True,
                False,
                True,
                True,
            )
        finally:
            with suppress(psycopg.errors.UndefinedObject):
                connection.execute("alter role test_builder_away rename to signal_builder")
            connection.execute("grant signal_reader to signal_api")
            connection.execute(sql.SQL("alter database {} owner to postgres").format(name))
            connection.execute("drop owned by test_other_owner cascade")
            connection.execute("drop role test_other_owner")


def test_a_superuser_who_migrates_the_schema_of_another_owner_does_not_stop_the_ingest(
    empty: Database, models: Models, tmp_path: Path
) -> None:
    """A function that runs as its owner may call only what that owner may."""
    owned = Database(empty.url.replace("postgres@", "test_first_owner@"))
    writer = Database(empty.url.replace("postgres@", "test_writer_of_days@"))
    with empty.connect() as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute("create role test_first_owner login")
        connection.execute("create role test_writer_of_days login")
        try:
            connection.execute(sql.SQL("alter database {} owner to test_first_owner").format(name))
            migrate_to(owned, "0010")
            migrate(empty, configured(empty, tmp_path), models)
            connection.execute("grant signal_writer to test_writer_of_days")
            with writer.connect() as writing:
                writing.execute("select signal.ensure_day(%s)", [today()])
            assert count(connection, "select count(*) from signal.days") == 1
            owners = connection.execute(
                "select distinct pg_get_userbyid(relowner) from pg_class"
                " where oid in (%s::regclass, 'signal.events'::regclass)",
                [f"signal.events_{today():%Y%m%d}"],
            ).fetchall()
            assert owners == [("test_first_owner",)]
        finally:
            connection.execute(sql.SQL("alter database {} owner to postgres").format(name))
            connection.execute("drop owned by test_first_owner, test_writer_of_days cascade")
            connection.execute("drop role test_first_owner, test_writer_of_days")


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
