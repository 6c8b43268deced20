"""An acknowledged write waits for the disk, whatever the server, database or login is set to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import sql
from support.bundle import SignalBundle
from support.days import due_day, yesterday
from support.waits import until

from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.kept_connections import KeptConnections
from signal_pipeline.privacy.erasure import Subject, erase

SetTo = Callable[[str], None]
# What a transaction that writes here sees of its own setting goes into `commits`.
WATCH = """
create table if not exists public.commits (setting text);
grant all on public.commits to public;
create function public.note_commit() returns trigger language plpgsql as $$ begin
  insert into public.commits values (current_setting('synchronous_commit')); return null; end $$;
"""


@pytest.fixture
def set_to(database: Database) -> SetTo:
    """Sets `synchronous_commit` for every session that begins from now on in the database."""

    def change(value: str) -> None:
        with database.connect() as connection:
            name = sql.Identifier(connection.info.dbname)
            connection.execute(
                sql.SQL("alter database {} set synchronous_commit = {}").format(
                    name, sql.Literal(value)
                )
            )

    return change


@pytest.fixture
def plain(database: Database) -> Iterator[Connection]:
    """A connection that is not Signal's."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        yield connection


def setting(database: Database) -> str:
    """What a session of Signal's in this database is set to."""
    with database.connect() as connection:
        found = connection.execute("show synchronous_commit").fetchone()
    assert found is not None
    return str(found[0])


@pytest.mark.parametrize("kind", [Database, KeptConnections])
def test_a_session_waits_for_the_disk(
    database: Database, set_to: SetTo, kind: type[Database]
) -> None:
    set_to("off")
    assert setting(kind(database.url)) == "on"


@pytest.mark.parametrize("value", ["local", "remote_write", "on", "remote_apply"])
def test_what_an_operator_chose_for_standbys_stays(
    database: Database, set_to: SetTo, value: str
) -> None:
    """Each of these waits for this server's own disk."""
    set_to(value)
    assert setting(database) == value


@pytest.mark.embedded_only
def test_a_login_that_does_not_wait_is_made_to(database: Database, plain: Connection) -> None:
    plain.execute("create role hasty login")
    plain.execute("alter role hasty set synchronous_commit = off")
    try:
        assert setting(Database(database.url.replace("postgres@", "hasty@", 1))) == "on"
    finally:
        plain.execute("drop role hasty")


@pytest.mark.embedded_only
def test_a_reload_does_not_reach_a_session(database: Database, plain: Connection) -> None:
    with database.connect() as connection:
        try:
            plain.execute("alter system set synchronous_commit = off")
            plain.execute("select pg_reload_conf()")
            until(lambda: plain.execute("show synchronous_commit").fetchone() == ("off",))
            assert connection.execute("show synchronous_commit").fetchone() == ("on",)
        finally:
            plain.execute("alter system reset synchronous_commit")
            plain.execute("select pg_reload_conf()")


def test_whatever_signal_writes_waits_for_the_disk(
    bundle: SignalBundle, set_to: SetTo, plain: Connection
) -> None:
    plain.execute(WATCH)
    for table in ("books", "builds", "audit"):
        plain.execute(
            sql.SQL(
                "create trigger watch after insert or update on {} for each statement"
                " execute function public.note_commit()"
            ).format(sql.Identifier("signal", table))
        )

    def seen() -> list[tuple[str]]:
        return plain.execute("with d as (delete from commits returning *) table d").fetchall()

    set_to("off")
    bundle.fill(due_day())
    assert set(seen()) == {("on",)}, "ingest"
    bundle.build(due_day())
    assert set(seen()) == {("on",)}, "build"
    assert bundle.purge().purged == [due_day()]
    assert set(seen()) == {("on",)}, "purge"
    bundle.fill(yesterday())
    ((user,),) = bundle.rows("select user_hash from signal.events limit 1")
    seen()
    erase(bundle.database, Subject.user(user, yesterday()), b"a" * 32)
    assert set(seen()) == {("on",)}, "erasure"


def test_a_migration_waits_for_the_disk(
    bundle: SignalBundle, set_to: SetTo, plain: Connection
) -> None:
    """Alembic has a connection of its own."""
    plain.execute("drop schema signal, signal_reporting cascade")
    plain.execute(WATCH)
    plain.execute(
        "create function public.note_ddl() returns event_trigger language plpgsql as $$ begin"
        " insert into public.commits values (current_setting('synchronous_commit')); end $$;"
        " create event trigger watch on ddl_command_end execute function public.note_ddl()"
    )
    set_to("off")
    bundle.migrate()
    assert plain.execute("select distinct setting from commits").fetchall() == [("on",)]
