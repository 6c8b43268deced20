"""The tables of the rollups on a real PostgreSQL.

The tests cover their shape, their upkeep, and their grants; `test_guards.py` has their guards.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg import errors
from support.guarded import INSERT, OPEN_DAY, PURGED_DAY, ROWS

from signal_pipeline.postgres.database import Connection
from signal_pipeline.rollups.models import load_models
from signal_pipeline.schema.rollup_tables import TableError, migrate_rollups

GRANTS = """
select table_schema || '.' || table_name, privilege_type
from information_schema.role_table_grants
where grantee = %s and table_name like 'daily_app%%'
order by 1, 2
"""
ROLES = {
    "signal_reader": "signal_reporting",
    "signal_builder": "signal",
    "signal_api": "signal",
    "signal_admin": "signal",
}


@pytest.fixture
def roles(connection: Connection) -> Iterator[None]:
    """The roles that get grants."""
    for role, schema in ROLES.items():
        connection.execute(f"drop role if exists {role}")
        connection.execute(f"create role {role}")
        connection.execute(f"grant usage on schema {schema} to {role}")
    yield
    connection.execute("reset role")
    for role in ROLES:
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


def test_a_view_has_the_subtotals_or_the_event_types(guarded: Connection) -> None:
    guarded.execute(INSERT, [OPEN_DAY, "(all)"])
    guarded.execute(INSERT, [OPEN_DAY, "clicked"])
    views = "select * from signal_reporting.daily_app_activity{} where activity_date = '2026-03-05'"
    assert guarded.execute(views.format("_by_type")).fetchall() == [
        (OPEN_DAY, False, "cms", "clicked", 1, 1, 1)
    ]
    assert guarded.execute(views.format("")).fetchall() == [(OPEN_DAY, False, "cms", 1, 1, 1)]


def test_a_new_nullable_column_is_added(guarded: Connection, folder: Path) -> None:
    _add_column(folder, tests="[]")
    before = guarded.execute(ROWS).fetchall()
    statements = migrate_rollups(guarded, load_models(folder))
    assert any('add column "routes" bigint' in statement for statement in statements)
    assert guarded.execute(ROWS).fetchall() == [(*row, None) for row in before]
    for name in ("daily_app_activity", "daily_app_activity_by_type"):
        view = guarded.execute(f"select * from signal_reporting.{name}")
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
    path.write_text(
        text.replace("How many events.\n        data_tests: [not_null]", "How many events.")
    )
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
    rollups.execute("drop schema signal_reporting cascade")
    rollups.execute(f"alter table signal.daily_app_activity {change}")
    _assert_refused(rollups, folder, problem)


def test_roles_get_what_they_need(connection: Connection, roles: None) -> None:
    migrate_rollups(connection, load_models())
    table, view = "signal.daily_app_activity", "signal_reporting.daily_app_activity"
    assert connection.execute(GRANTS, ["signal_reader"]).fetchall() == [
        (view, "SELECT"),
        (f"{view}_by_type", "SELECT"),
    ]
    for role in ("signal_api", "signal_admin"):
        assert connection.execute(GRANTS, [role]).fetchall() == [(table, "SELECT")]
    assert connection.execute(GRANTS, ["signal_builder"]).fetchall() == [
        (table, "DELETE"),
        (table, "INSERT"),
        (table, "SELECT"),
        (table, "UPDATE"),
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
    view = "signal_reporting.daily_app_activity"
    assert guarded.execute(f"select count(*) from {view}").fetchone() == (1,)
    with pytest.raises(errors.InsufficientPrivilege):
        guarded.execute(INSERT, [OPEN_DAY, "clicked"])
    with pytest.raises(errors.InsufficientPrivilege):
        guarded.execute("select from signal.events")


def _add_column(folder: Path, tests: str) -> None:
    path = folder / "models/daily_app_activity.sql"
    path.write_text(
        path.read_text().replace("as sessions", "as sessions,\n    count(distinct route) as routes")
    )
    schema = folder / "schema.yml"
    column = (
        "      - name: routes\n        data_type: bigint\n"
        f"        description: Distinct routes.\n        data_tests: {tests}\n"
    )
    schema.write_text(
        schema.read_text().replace(
            "    data_tests:\n      - dbt_utils", f"{column}    data_tests:\n      - dbt_utils", 1
        )
    )


def _assert_refused(connection: Connection, folder: Path, problem: str) -> None:
    with pytest.raises(TableError) as caught:
        migrate_rollups(connection, load_models(folder))
    assert str(caught.value).startswith("signal.daily_app_activity")
    assert problem in str(caught.value)
