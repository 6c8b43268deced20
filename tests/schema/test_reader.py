"""What a reader of `signal_reporting` sees and may do, and for how long."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors
from support.reporting import grains, rows

from signal_pipeline.cli.psql import reader_url
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.rollups.models import Models
from signal_pipeline.schema.migrate import migrate
from signal_pipeline.settings import Settings


def test_the_reader_sees_these_views_and_nothing_else(reader: Connection) -> None:
    seen = rows(
        reader,
        "select table_schema || '.' || table_name from information_schema.tables"
        " where table_schema not in ('pg_catalog', 'information_schema')",
    )
    assert {row[0] for row in seen} == {f"signal_reporting.{view}" for view in grains()}
    assert rows(reader, "select current_schema()") == [("signal_reporting",)]
    usable = rows(
        reader, "select nspname from pg_namespace where has_schema_privilege(oid, 'usage')"
    )
    assert {row[0] for row in usable} - {"public", "pg_catalog", "information_schema"} == {
        "signal_reporting"
    }
    readable = rows(
        reader,
        "select c.oid::regclass::text from pg_class as c join pg_namespace as n"
        " on n.oid = c.relnamespace where n.nspname not in"
        " ('pg_catalog', 'information_schema', 'pg_toast') and c.relkind in"
        " ('r', 'p', 'v', 'm', 'S') and has_any_column_privilege(c.oid, 'select')",
    )
    assert {row[0] for row in readable} == set(grains())


def test_the_reader_cannot_write_even_if_it_takes_its_settings_back(reader: Connection) -> None:
    with pytest.raises(errors.ReadOnlySqlTransaction):
        reader.execute("create temporary table mine (x int)")
    reader.execute("set default_transaction_read_only = off")
    for statement in (
        "create temporary table mine (x int)",
        "create temporary view mine as select 1",
        "create temporary sequence mine",
        "create table signal_reporting.mine (x int)",
        "create table public.mine (x int)",
        "create schema mine",
        "update signal_reporting.daily_app_activity set events = 0",
        "insert into signal_reporting.intake values (current_date, 'cms', 'accepted', '', 1)",
        "update signal_reporting.instance set start_date = '2020-01-01'",
        "select signal.ensure_day(current_date)",
        "select count(*) from signal.events",
        "select count(*) from signal.daily_app_activity",
        "comment on view signal_reporting.days is 'x'",
    ):
        with pytest.raises((errors.InsufficientPrivilege, errors.ObjectNotInPrerequisiteState)):
            reader.execute(statement)  # type: ignore[arg-type]


def test_who_needs_temporary_tables_has_them_by_role(
    reader: Connection, connection: Connection
) -> None:
    asked = "select has_database_privilege(%s, current_database(), 'temporary')"
    for role, can in (
        ("public", False),
        ("signal_reader", False),
        ("signal_writer", True),
        ("signal_builder", True),
        ("signal_api", True),
        ("signal_admin", True),
    ):
        assert rows(connection, asked, role) == [(can,)], role


def test_a_database_with_other_peoples_tables_keeps_its_temporary_tables(
    database: Database, connection: Connection, settings: Settings, models: Models
) -> None:
    connection.execute("create table public.theirs (x int)")
    migrate(database, settings, models)
    asked = "select has_database_privilege('public', current_database(), 'temporary')"
    assert rows(connection, asked) == [(True,)]


def test_a_session_of_the_reader_ends_what_takes_too_long(
    reader: Connection,
    connection: Connection,
    database: Database,
    settings: Settings,
    models: Models,
) -> None:
    for name, value in (
        ("statement_timeout", "1min"),
        ("idle_in_transaction_session_timeout", "1min"),
        ("default_transaction_read_only", "on"),
    ):
        assert rows(reader, "select current_setting(%s)", name) == [(value,)]
    limit = "select rolconnlimit from pg_roles where rolname = 'signal_reader'"
    assert rows(connection, limit) == [(20,)]
    connection.execute("alter role signal_reader set statement_timeout = '50ms'")
    try:
        migrate(database, settings, models)  # It leaves the operator's own value alone.
        with (
            psycopg.connect(reader_url(database)) as hurried,
            pytest.raises(errors.QueryCanceled),
        ):
            hurried.execute("select pg_sleep(60)")
    finally:
        connection.execute("alter role signal_reader set statement_timeout = '60s'")
