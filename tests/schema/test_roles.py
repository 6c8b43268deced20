"""Least privilege: what a role has no need to do is refused.

What each role does is in `test_role_work.py`, and who writes which entry in `test_audit.py`.
"""

from __future__ import annotations

import uuid
from string import Template

import pytest
from conftest import As, Fill
from psycopg import errors
from support.days import RETENTION_DAYS, due_day, yesterday
from support.reports import frame

from signal_pipeline.postgres.database import Connection, Database, DatabaseError
from signal_pipeline.privacy import retention
from signal_pipeline.privacy.erasure import Subject, erase
from signal_pipeline.reports.of_rollups import rollup_report
from signal_pipeline.rollups.models import Models
from signal_pipeline.schema.migrate import ROLES


def of_filled_days(statement: str) -> str:
    """Write the days of `filled` into a statement."""
    partition = f"{yesterday():%Y%m%d}"
    return Template(statement).substitute(due=due_day(), yesterday=yesterday(), partition=partition)


FORGED_ENTRIES = [
    "insert into signal.audit (action) values ('read_events')",
    "insert into signal.audit (action, at) values ('read_events', '2020-01-01')",
    "insert into signal.audit (id, action) overriding system value values (-1, 'read_events')",
    "select setval(pg_get_serial_sequence('signal.audit', 'id'), 1)",
]
CALLED_ENTRIES = [
    "select signal.audit_read(null, 1)",
    "select signal.audit_operator('purge', current_date, null, '{}')",
]
FORBIDDEN = {
    "signal_writer": [
        "select count(*) from signal.events",
        "select user_hash from signal.events limit 1",
        "select day from signal.event_keys",
        "delete from signal.events",
        "update signal.events set route = null",
        "delete from signal.event_keys",
        "update signal.days set state = 'purged'",
        "delete from signal.books",
        "delete from signal.intake",
        "delete from signal.bots",
        "update signal.bots set browser_family = 'x'",
        "insert into signal.builds select * from signal.builds",
        "select * from signal.daily_app_activity",
        "insert into signal.daily_app_activity values (current_date, 'cms', '(all)', 1, 1, 1)",
        "select * from signal.receipts",
        "select * from signal.audit",
        "insert into signal.audit (action) values ('x')",
        *CALLED_ENTRIES,
        "select signal.make_partition(current_date)",
        "create table signal.mine ()",
    ],
    "signal_builder": [
        *FORGED_ENTRIES,
        *CALLED_ENTRIES,
        "select signal.make_partition(current_date)",
        "insert into signal.events select * from signal.events",
        "delete from signal.events",
        "select * from signal.event_keys",
        "update signal.days set version = 0",
        "insert into signal.books values (current_date, 'cms', 'x', 'erased', '', 1)",
        "select * from signal.audit",
        "insert into signal.receipts select * from signal.receipts",
        "truncate signal.daily_app_activity",
        "drop table signal.daily_app_activity",
    ],
    "signal_reader": [
        *FORGED_ENTRIES,
        *CALLED_ENTRIES,
        "select count(*) from signal.events",
        "select * from signal.event_keys",
        "select * from signal.audit",
        "select * from signal.receipts",
        "select * from signal.landed_files",
        "update signal.intake set events = 0",
        "delete from signal.bots",
        "select * from signal.daily_app_activity",
        "select * from signal.books",
        "delete from signal.daily_app_activity",
        "update signal.daily_app_activity set events = 0",
        "insert into signal.daily_app_activity values (current_date, 'cms', '(all)', 1, 1, 1)",
        "delete from signal_reporting.daily_app_activity",
        "update signal_reporting.daily_app_activity set events = 0",
        "update signal_reporting.instance set start_date = '2020-01-01'",
        "delete from signal_reporting.bots",
        "insert into signal_reporting.intake values (current_date, 'cms', 'accepted', '', 1)",
        "create table signal_reporting.mine ()",
        "create schema mine",
        "select signal.ensure_day(current_date)",
        "select signal.make_partition(current_date)",
        "select signal.drop_partition(current_date)",
        (
            f"select * from signal.erase_entity_from_purged_days('journey', 'x', '{uuid.uuid4()}',"
            " null)"
        ),
        "select count(*) from signal.events_$partition",
    ],
    "signal_api": [
        "delete from signal.events",
        "update signal.events set route = null",
        "select day from signal.event_keys",
        "delete from signal.event_keys",
        "update signal.days set state = 'purged'",
        "insert into signal.daily_app_activity values (current_date, 'cms', '(all)', 1, 1, 1)",
        "insert into signal.builds select * from signal.builds",
        "select * from signal.receipts",
        "select * from signal.audit",
        *FORGED_ENTRIES,
        "select signal.audit_operator('purge', current_date, null, '{}')",
        "select signal.make_partition(current_date)",
        "select signal.drop_partition(current_date)",
        (
            f"select * from signal.erase_entity_from_purged_days('journey', 'x', '{uuid.uuid4()}',"
            " null)"
        ),
        "create table signal.mine ()",
    ],
    "signal_admin": [
        *FORGED_ENTRIES,
        "update signal.audit set action = 'nothing'",
        "delete from signal.audit",
        "truncate signal.audit",
        "update signal.receipts set raw_events = 0",
        "delete from signal.receipts",
        "insert into signal.guard_passes values (pg_current_xact_id())",
        "alter table signal.daily_app_activity disable trigger all",
        "drop table signal.events_$partition",
        "delete from signal.days where day = '$due'",
    ],
}


def test_what_a_role_may_not_do_is_refused(as_role: As, filled: None) -> None:
    allowed = []
    for role in ROLES:
        with as_role(role).connect() as connection:
            for statement in FORBIDDEN[role]:
                try:
                    connection.execute(of_filled_days(statement))  # type: ignore[arg-type]
                    allowed.append((role, statement))
                except errors.InsufficientPrivilege:
                    pass
    assert allowed == []


RIGHTS = """
select c.relname, string_agg(privilege, ' ' order by privilege)
from pg_class as c
cross join unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) as privilege
where c.relnamespace = 'signal'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f') and case
    when c.relkind = 'S' then privilege in ('select', 'update') and has_sequence_privilege(%(role)s, c.oid, privilege)
    when privilege in ('delete', 'truncate', 'trigger') then has_table_privilege(%(role)s, c.oid, privilege)
    else has_any_column_privilege(%(role)s, c.oid, privilege)
end
group by c.relname
"""


def test_the_api_may_do_this_and_nothing_else(
    connection: Connection, models: Models, filled: None
) -> None:
    rollups = dict.fromkeys(models, "select")
    assert dict(connection.execute(RIGHTS, {"role": "signal_api"}).fetchall()) == {  # type: ignore[arg-type]
        **rollups,
        "address_gaps": "insert select update",
        "books": "insert select update",
        "bots": "insert select update",
        "builds": "select",
        "day_keys": "insert select",
        "days": "select update",
        "event_keys": "insert select",
        "events": "insert select",
        "expected_events": "select",
        "instance": "select",
        "intake": "insert select update",
        "landed_files": "insert select update",
    }
    functions = connection.execute(
        "select proname from pg_proc where pronamespace = 'signal'::regnamespace"
        " and has_function_privilege('signal_api', oid, 'execute')"
    ).fetchall()
    assert sorted(functions) == [("audit_read",), ("ensure_day",)]
    assert connection.execute(
        "select has_schema_privilege('signal_api', 'signal', 'create')"
    ).fetchone() == (False,)


def test_the_reader_has_no_right_in_the_schema_of_the_tables(
    connection: Connection, filled: None
) -> None:
    """A reader that could write could add people to a small cell.

    A function, a sequence or a table of its own would be enough. `test_reader.py` has what it
    can do.
    """
    assert connection.execute(RIGHTS, {"role": "signal_reader"}).fetchall() == []  # type: ignore[arg-type]
    functions = connection.execute(
        "select proname from pg_proc where pronamespace = 'signal'::regnamespace"
        " and has_function_privilege('signal_reader', oid, 'execute')"
    ).fetchall()
    assert functions == []
    for right, schema in (
        ("usage", "signal"),
        ("create", "signal"),
        ("create", "signal_reporting"),
        ("create", "public"),
    ):
        query = "select has_schema_privilege('signal_reader', %s, %s)"
        assert connection.execute(query, [schema, right]).fetchone() == (False,), (right, schema)
    query = "select rolname from pg_roles where pg_has_role('signal_reader', oid, 'member')"
    assert connection.execute(query).fetchall() == [("signal_reader",)]


def test_tables_of_a_writers_own_do_not_change_what_others_read(
    as_role: As, models: Models, filled: None, database: Database
) -> None:
    """Some roles can make temporary tables.

    Those of a session shadow nothing, since every name has its schema.
    """
    before = frame(rollup_report(database, models, "app", yesterday(), yesterday()))
    with as_role("signal_writer").connect() as connection:
        connection.execute("create temporary table daily_app_activity (users bigint)")
        connection.execute("create temporary table events (user_hash bytea)")
        assert frame(rollup_report(database, models, "app", yesterday(), yesterday())).equals(
            before
        )
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("insert into signal.events select * from signal.events")


GUARDED = [
    "update signal.days set state = 'open' where day = '$due'",
    "delete from signal.daily_app_activity where activity_date = '$due'",
    "update signal.daily_app_activity set events = 0 where activity_date = '$due'",
    "insert into signal.daily_app_activity values ('$due', 'cms', 'x', 1, 1, 1)",
    "select signal.drop_partition('$yesterday')",
]


@pytest.mark.parametrize("statement", GUARDED)
def test_the_admin_is_held_by_the_guards_too(as_role: As, filled: None, statement: str) -> None:
    with as_role("signal_admin").connect() as connection, pytest.raises(errors.RaiseException):
        connection.execute(of_filled_days(statement))  # type: ignore[arg-type]


def test_a_purged_day_cannot_be_opened_again_by_its_owner(
    connection: Connection, filled: None
) -> None:
    for statement in ("update signal.days set state = 'open'", "delete from signal.days"):
        with pytest.raises(errors.RaiseException, match="stays purged"):
            connection.execute(statement)  # type: ignore[arg-type]


@pytest.mark.parametrize("role", ["signal_writer", "signal_builder", "signal_reader", "signal_api"])
def test_only_the_admin_purges_and_erases(
    as_role: As, models: Models, fill: Fill, role: str
) -> None:
    fill(due_day(), 20)
    with pytest.raises(DatabaseError, match="InsufficientPrivilege"):
        retention.purge_incomplete(as_role(role), models, due_day(), "tried", RETENTION_DAYS)
    with pytest.raises(DatabaseError, match="InsufficientPrivilege"):
        erase(as_role(role), Subject.entity("journey", str(uuid.UUID(int=3))), b"a" * 32)


def test_objects_of_a_caller_do_not_change_what_a_function_of_the_owner_does(
    as_role: As, filled: None
) -> None:
    """The classic attack on SECURITY DEFINER.

    The caller has temporary objects and a search_path of its own.
    """
    with as_role("signal_writer").connect() as connection:
        connection.execute("create temporary table days (day date, state text)")
        connection.execute("create temporary table instance (start_date date)")
        connection.execute("insert into pg_temp.instance values ('0001-01-01')")
        connection.execute("set search_path = pg_temp, signal")
        with pytest.raises(errors.RaiseException, match="no day"):
            connection.execute("select signal.ensure_day('0400-01-01')")
        connection.execute("select signal.ensure_day(current_date)")
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("select count(*) from signal.events")


FALSE_ROLLUP = """
create temporary table false_rollup (activity_date date, entity_type text, entity_id text);
create trigger guard_insert after insert on false_rollup referencing new table as new_rows
    for each statement execute function signal.guard_rollup();
create trigger guard_delete after delete on false_rollup referencing old table as old_rows
    for each statement execute function signal.guard_rollup()
"""


def test_nobody_else_puts_a_guard_on_a_table(as_role: As, filled: None) -> None:
    with (
        as_role("signal_builder").connect() as builder,
        pytest.raises(errors.InsufficientPrivilege, match="guard_rollup"),
    ):
        builder.execute(FALSE_ROLLUP)


def test_a_guarded_table_elsewhere_is_no_rollup(
    as_role: As, connection: Connection, filled: None
) -> None:
    """Earlier versions let every login put a guard on a table of its own."""
    connection.execute("grant execute on function signal.guard_rollup() to signal_builder")
    rollups = "select distinct rollup from signal_reporting.rollup_days order by 1"
    before = connection.execute(rollups).fetchall()
    with as_role("signal_builder").connect() as builder:
        builder.execute(FALSE_ROLLUP)
        subject = Subject.entity("journey", str(uuid.UUID(int=3)))
        erased = erase(as_role("signal_admin"), subject, b"a" * 32)
        assert connection.execute(rollups).fetchall() == before
    assert {day.state for day in erased.days} == {"open", "purged"}
