"""The tables of the rollups on a real PostgreSQL.

The tests cover their shape, their upkeep, their guards, and their grants.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from signal_pipeline.postgres.database import Connection
from signal_pipeline.rollups.models import load_models
from signal_pipeline.schema.rollup_tables import TableError, migrate_rollups

OPEN_DAY = date(2026, 3, 5)
PURGED_DAY = date(2025, 3, 5)
UNKNOWN_DAY = date(2024, 3, 5)

INSERT = "insert into signal.daily_app_activity values (%s, 'cms', %s, 1, 1, 1)"
ROWS = "select * from signal.daily_app_activity order by 1, 2, 3"
GRANTS = """
select table_name, privilege_type from information_schema.role_table_grants
where grantee = %s and table_schema = 'signal' and table_name like 'daily_app%%'
order by 1, 2
"""


@pytest.fixture
def guarded(rollups: Connection) -> Connection:
    """Rollups with an open day, and a purged day that has one row of an '(all)' event."""
    rollups.execute("insert into signal.days values (%s), (%s)", [OPEN_DAY, PURGED_DAY])
    rollups.execute(INSERT, [PURGED_DAY, "(all)"])
    rollups.execute("update signal.days set state = 'purged' where day = %s", [PURGED_DAY])
    return rollups


@pytest.fixture
def roles(connection: Connection) -> Iterator[None]:
    """The two roles that get grants."""
    for role in ("signal_reader", "signal_builder"):
        connection.execute(f"drop role if exists {role}")
        connection.execute(f"create role {role}")
        connection.execute(f"grant usage on schema signal to {role}")
    yield
    connection.execute("reset role")
    for role in ("signal_reader", "signal_builder"):
        connection.execute(f"drop owned by {role}")
        connection.execute(f"drop role {role}")


def test_the_table_has_the_columns_types_and_key_of_the_model(rollups: Connection) -> None:
    columns = rollups.execute("""
        select column_name, data_type, is_nullable, collation_name
        from information_schema.columns
        where table_schema = 'signal' and table_name = 'daily_entity_activity'
        order by ordinal_position
        """).fetchall()
    assert columns == [
        ("activity_date", "date", "NO", None),
        ("app_name", "text", "NO", "C"),
        ("event_type", "text", "NO", "C"),
        ("entity_type", "text", "NO", "C"),
        ("entity_id", "text", "NO", "C"),
        ("events", "bigint", "NO", None),
        ("users", "bigint", "NO", None),
        ("sessions", "bigint", "NO", None),
    ]
    key = rollups.execute("""
        select pg_get_constraintdef(oid) from pg_constraint
        where conrelid = 'signal.daily_entity_activity'::regclass and contype = 'p'
        """).fetchall()
    assert key == [("PRIMARY KEY (activity_date, app_name, event_type, entity_type, entity_id)",)]


def test_descriptions_are_comments(rollups: Connection) -> None:
    row = rollups.execute(
        "select obj_description(t), col_description(t, 4) from (select"
        " 'signal.daily_app_activity'::regclass) as x (t)"
    ).fetchone()
    model = load_models()["daily_app_activity"]
    assert row == (model.description, model.columns["events"].description)


def test_a_second_run_does_nothing(connection: Connection, roles: None) -> None:
    assert migrate_rollups(connection, load_models())
    assert migrate_rollups(connection, load_models()) == []


def test_it_happens_in_the_transaction_of_the_caller(connection: Connection) -> None:
    with connection.transaction(force_rollback=True):
        migrate_rollups(connection, load_models())
    assert connection.execute("select to_regclass('signal.daily_app_activity')").fetchone() == (
        None,
    )


def test_the_view_leaves_the_subtotals_out(guarded: Connection) -> None:
    guarded.execute(INSERT, [OPEN_DAY, "(all)"])
    guarded.execute(INSERT, [OPEN_DAY, "clicked"])
    rows = guarded.execute("select * from signal.daily_app_activity_by_type").fetchall()
    assert rows == [(OPEN_DAY, "cms", "clicked", 1, 1, 1)]


def test_a_new_nullable_column_is_added(guarded: Connection, folder: Path) -> None:
    _add_column(folder, tests="[]")
    before = guarded.execute(ROWS).fetchall()
    statements = migrate_rollups(guarded, load_models(folder))
    assert any('add column "routes" bigint' in statement for statement in statements)
    assert guarded.execute(ROWS).fetchall() == [(*row, None) for row in before]
    view = guarded.execute("select * from signal.daily_app_activity_by_type")
    assert [column.name for column in view.description or ()][-1] == "routes"
    assert migrate_rollups(guarded, load_models(folder)) == []


def test_a_new_column_that_must_not_be_null_is_refused(guarded: Connection, folder: Path) -> None:
    _add_column(folder, tests="[not_null]")
    _assert_refused(guarded, folder, "the new column routes must not have the test not_null")


def test_a_column_may_become_nullable_but_not_the_reverse(
    rollups: Connection, folder: Path
) -> None:
    path = folder / "schema.yml"
    text = path.read_text()
    path.write_text(text.replace("How many events.\n        tests: [not_null]", "How many events."))
    assert any(
        "drop not null" in statement for statement in migrate_rollups(rollups, load_models(folder))
    )
    assert migrate_rollups(rollups, load_models(folder)) == []
    path.write_text(text)
    _assert_refused(rollups, folder, "events can be null in old rows")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("add column other text", "has the column other, which the model has not"),
        ("alter column users type integer", "users is integer, not bigint"),
        (
            "drop constraint daily_app_activity_pkey, add primary key (activity_date, app_name)",
            "the grain was (activity_date, app_name)",
        ),
    ],
)
def test_a_change_that_loses_history_is_refused(
    rollups: Connection, folder: Path, change: str, problem: str
) -> None:
    rollups.execute("drop view signal.daily_app_activity_by_type")
    rollups.execute(f"alter table signal.daily_app_activity {change}")
    _assert_refused(rollups, folder, problem)


CHANGES: dict[str, str] = {
    "insert": "insert into signal.daily_app_activity values ('{day}', 'cms', 'clicked', 1, 1, 1)",
    "copy": "copy signal.daily_app_activity from stdin",
    "update": "update signal.daily_app_activity set users = 2 where activity_date = '{day}'",
    "move out": (
        "update signal.daily_app_activity set activity_date = '2026-03-05' where activity_date ="
        " '{day}'"
    ),
    "move in": (
        "update signal.daily_app_activity set activity_date = '{day}' where activity_date ="
        " '2026-03-05'"
    ),
    "delete": "delete from signal.daily_app_activity where activity_date = '{day}'",
    "delete all": "delete from signal.daily_app_activity",
    "upsert": (
        "insert into signal.daily_app_activity values ('{day}', 'cms', '(all)', 1, 1, 1)"
        " on conflict (activity_date, app_name, event_type) do update set users = 2"
    ),
    "merge": (
        "merge into signal.daily_app_activity as t"
        " using (values (date '{day}')) as s (day) on t.activity_date = s.day"
        " when matched then update set users = 3 when not matched then do nothing"
    ),
    "writable cte": (
        "with gone as (delete from signal.daily_app_activity"
        " where activity_date = '{day}' returning 1) select count(*) from gone"
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_purged_day_cannot_change(guarded: Connection, name: str) -> None:
    guarded.execute(INSERT, [OPEN_DAY, "clicked"])
    before = guarded.execute(ROWS).fetchall()
    with pytest.raises(errors.RaiseException, match=f"day {PURGED_DAY} is purged"):
        _change(guarded, name, PURGED_DAY)
    assert guarded.execute(ROWS).fetchall() == before


@pytest.mark.parametrize("name", ["insert", "copy", "upsert"])
def test_an_unknown_day_cannot_get_rows(guarded: Connection, name: str) -> None:
    with pytest.raises(errors.RaiseException, match=f"day {UNKNOWN_DAY} is unknown"):
        _change(guarded, name, UNKNOWN_DAY)


@pytest.mark.parametrize("name", [name for name in CHANGES if name != "delete all"])
def test_an_open_day_can_change(guarded: Connection, name: str) -> None:
    guarded.execute(INSERT, [OPEN_DAY, "(all)"])
    _change(guarded, name, OPEN_DAY)


def test_truncate_is_refused(guarded: Connection) -> None:
    with pytest.raises(errors.RaiseException, match="truncate is refused"):
        guarded.execute("truncate signal.daily_app_activity")


def test_a_guard_that_was_disabled_is_made_again(guarded: Connection) -> None:
    guarded.execute("alter table signal.daily_app_activity disable trigger all")
    assert migrate_rollups(guarded, load_models())
    with pytest.raises(errors.RaiseException, match=f"day {PURGED_DAY} is purged"):
        _change(guarded, "delete", PURGED_DAY)
    assert migrate_rollups(guarded, load_models()) == []


def test_roles_get_what_they_need(connection: Connection, roles: None) -> None:
    migrate_rollups(connection, load_models())
    table, view = "daily_app_activity", "daily_app_activity_by_type"
    assert connection.execute(GRANTS, ["signal_reader"]).fetchall() == [
        (table, "SELECT"),
        (view, "SELECT"),
    ]
    assert connection.execute(GRANTS, ["signal_builder"]).fetchall() == [
        (table, "DELETE"),
        (table, "INSERT"),
        (table, "SELECT"),
        (table, "UPDATE"),
        (view, "SELECT"),
    ]


def test_a_role_made_later_gets_its_grants(rollups: Connection, roles: None) -> None:
    statements = migrate_rollups(rollups, load_models())
    assert statements and all(statement.startswith("grant") for statement in statements)


def test_a_builder_needs_no_right_on_days(guarded: Connection, roles: None) -> None:
    migrate_rollups(guarded, load_models())
    guarded.execute("set role signal_builder")
    guarded.execute(INSERT, [OPEN_DAY, "clicked"])
    with pytest.raises(errors.RaiseException, match="is purged"):
        guarded.execute(INSERT, [PURGED_DAY, "clicked"])
    with pytest.raises(errors.InsufficientPrivilege):
        guarded.execute("update signal.days set state = 'open'")


def test_a_reader_only_reads(guarded: Connection, roles: None) -> None:
    migrate_rollups(guarded, load_models())
    guarded.execute("set role signal_reader")
    assert guarded.execute("select count(*) from signal.daily_app_activity").fetchone() == (1,)
    with pytest.raises(errors.InsufficientPrivilege):
        guarded.execute(INSERT, [OPEN_DAY, "clicked"])
    with pytest.raises(errors.InsufficientPrivilege):
        guarded.execute("select from signal.events")


def test_a_write_waits_for_a_purge_and_is_then_refused(guarded: Connection, url: str) -> None:
    refusals: list[str] = []

    def write() -> None:
        with psycopg.connect(url, autocommit=True, application_name="late") as late:
            try:
                late.execute(INSERT, [OPEN_DAY, "clicked"])
            except errors.RaiseException as error:
                refusals.append(error.diag.message_primary or "")

    # Another connection watches, because within one transaction pg_stat_activity does not change.
    with psycopg.connect(url, autocommit=True) as watching, guarded.transaction():
        guarded.execute("select from signal.days where day = %s for update", [OPEN_DAY])
        thread = threading.Thread(target=write)
        thread.start()
        _wait_until(lambda: _is_waiting(watching))
        guarded.execute("update signal.days set state = 'purged' where day = %s", [OPEN_DAY])
    thread.join()
    assert refusals == [f"day {OPEN_DAY} is purged: signal.daily_app_activity is not changed"]


def test_a_write_holds_off_a_purge_but_not_a_new_version(guarded: Connection, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as other, guarded.transaction():
        guarded.execute(INSERT, [OPEN_DAY, "clicked"])
        other.execute("set lock_timeout = '5s'")
        other.execute("update signal.days set version = version + 1 where day = %s", [OPEN_DAY])
        with pytest.raises(errors.LockNotAvailable):
            other.execute("select from signal.days where day = %s for update nowait", [OPEN_DAY])


def _change(connection: Connection, name: str, day: date) -> None:
    statement = CHANGES[name].format(day=day)
    if name != "copy":
        connection.execute(statement)
        return
    with connection.cursor().copy(statement) as copy:
        copy.write_row((day, "cms", "copied", 1, 1, 1))


def _add_column(folder: Path, tests: str) -> None:
    path = folder / "models/daily_app_activity.sql"
    path.write_text(
        path.read_text().replace("as sessions", "as sessions,\n    count(distinct route) as routes")
    )
    schema = folder / "schema.yml"
    column = (
        "      - name: routes\n        data_type: bigint\n"
        f"        description: Distinct routes.\n        tests: {tests}\n"
    )
    schema.write_text(
        schema.read_text().replace(
            "    tests:\n      - uniq", f"{column}    tests:\n      - uniq", 1
        )
    )


def _assert_refused(connection: Connection, folder: Path, problem: str) -> None:
    with pytest.raises(TableError) as caught:
        migrate_rollups(connection, load_models(folder))
    assert str(caught.value).startswith("signal.daily_app_activity")
    assert problem in str(caught.value)


def _is_waiting(connection: Connection) -> bool:
    return bool(
        connection.execute(
            "select 1 from pg_stat_activity where application_name = 'late' and wait_event_type ="
            " 'Lock'"
        ).fetchone()
    )


def _wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        threading.Event().wait(0.02)
    raise AssertionError("nothing happened for ten seconds")
