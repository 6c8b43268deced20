"""Who may migrate: the owner with few rights, a superuser, and logins that may only ask."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from conftest import START_DATE
from psycopg import sql
from support.days import today
from support.revisions import configured, migrate_to
from support.stored import count

from signal_pipeline.postgres.database import (
    Database,
)
from signal_pipeline.rollups.models import Models
from signal_pipeline.schema.migrate import (
    NotOwnerError,
    migrate,
    missing_roles,
)


@pytest.fixture(autouse=True)
def _no_start_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGNAL_START_DATE")


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
            connection.execute("revoke select on signal.daily_app_activity from signal_api")
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
