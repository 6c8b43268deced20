"""The tables of the rollups, made from `schema.yml`: columns, keys, guards, grants and comments.

This module changes the tables until they agree with the models, and has `reporting_views.py` do the
same for the views that people read. The guards call functions of `guards.sql`, which `migrate.py`
runs first. `migrate.py` also decides which users can change the tables. A table is never dropped
and a column never removed, because rollups outlive the raw events that they were computed from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import sql
from psycopg.rows import kwargs_row, scalar_row

from signal_pipeline.errors import SignalError
from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.identifiers import identifiers
from signal_pipeline.postgres.query import query
from signal_pipeline.rollups.models import Column, Model, Models
from signal_pipeline.schema.reporting_views import reporting_changes

Statement = sql.Composed

# The role `signal_reader` has no grant here: it has the views of `signal_reporting` instead.
_TABLE_GRANTS = (
    ("signal_api", "select"),
    ("signal_admin", "select"),
    ("signal_builder", "select"),
    ("signal_builder", "insert"),
    ("signal_builder", "update"),
    ("signal_builder", "delete"),
)

_TRIGGERS: Mapping[str, LiteralString] = {
    "guard_insert": (
        "after insert on {table} referencing new table as new_rows"
        " for each statement execute function signal.guard_rollup()"
    ),
    "guard_update": (
        "after update on {table} referencing old table as old_rows new table as new_rows"
        " for each statement execute function signal.guard_rollup()"
    ),
    "guard_delete": (
        "after delete on {table} referencing old table as old_rows"
        " for each statement execute function signal.guard_rollup()"
    ),
    "refuse_truncate": (
        "before truncate on {table} for each statement execute function signal.refuse_truncate()"
    ),
}
# PostgreSQL's own names for types that `schema.yml` spells in another way.
_CATALOGUE_TYPES = {"timestamptz": "timestamp with time zone"}


class TableError(SignalError):
    """A table of a rollup differs from its model in a way that would change or lose history."""


@dataclass(frozen=True, slots=True)
class _TableColumn:
    name: str
    data_type: str
    nullable: bool
    comment: str | None


@dataclass(frozen=True, slots=True)
class _Table:
    columns: Mapping[str, _TableColumn]
    key: tuple[str, ...]
    triggers: frozenset[str]
    comment: str | None

    @classmethod
    def of_catalogue(
        cls,
        *,
        columns: list[dict[str, Any]],
        key: list[str] | None,
        triggers: list[str],
        comment: str | None,
    ) -> _Table:
        """Return a table as `table_facts.sql` describes it."""
        return cls(
            {column["name"]: _TableColumn(**column) for column in columns},
            tuple(key or []),
            frozenset(triggers),
            comment,
        )


def migrate_rollups(connection: Connection, models: Models) -> list[str]:
    """Make the tables agree with the models; return the statements that ran.

    It works in the caller's transaction. If nothing changed, no statement runs. A table without a
    model only gets back grants that a restore has lost: erasures must still delete its rows. Raises
    TableError for a column that was removed or retyped, for a test `not_null` on a column that is
    new or was nullable so far, and for a changed grain.
    """
    statements = [
        statement for model in models.values() for statement in _migrate(connection, model)
    ]
    for table in _former_rollups(connection, models):
        statements += _grant_missing(connection, table)
    return [statement.as_string(connection) for statement in statements]


def keep_former_rollups(connection: Connection, models: Models) -> None:
    """Record which rollups have no model now, so that no view reports days as missing from them.

    Only the owner of the schema does so. A process of another login can run with older models, and
    can lack the right to change this list. So it leaves the list alone, and does not fail.
    """
    former = _former_rollups(connection, models)
    connection.execute(query(__package__, "keep_former_rollups"), {"former": former})


def _former_rollups(connection: Connection, models: Models) -> list[str]:
    scalar = connection.cursor(row_factory=scalar_row)
    return scalar.execute(query(__package__, "former_rollups"), {"models": [*models]}).fetchall()


def _migrate(connection: Connection, model: Model) -> Iterator[Statement]:
    table = _table_facts(connection, model)
    if table is None:
        yield _run(connection, _create_table(model))
    else:
        _check_history(model, table)
        for statement in _column_changes(model, table):
            yield _run(connection, statement)
    table = _table_facts(connection, model)
    assert table is not None
    for statement in _trigger_and_comment_changes(model, table):
        yield _run(connection, statement)
    yield from _grant_missing(connection, model.name)
    for statement in reporting_changes(connection, model, table.columns):
        yield _run(connection, statement)


def _run(connection: Connection, statement: Statement) -> Statement:
    connection.execute(statement)
    return statement


def _create_table(model: Model) -> Statement:
    return sql.SQL("create table if not exists {} ({}, primary key ({}))").format(
        _qualified_name(model.name),
        sql.SQL(", ").join(map(_column_definition, model.columns.values())),
        identifiers(model.grain),
    )


def _column_definition(column: Column) -> Statement:
    return sql.SQL("{} {}{}{}").format(
        sql.Identifier(column.name),
        sql.SQL(column.data_type),  # One of schema_yml.COLUMN_TYPES.
        sql.SQL(' collate "C"' if column.data_type == "text" else ""),
        sql.SQL("" if column.nullable else " not null"),
    )


def _check_history(model: Model, table: _Table) -> None:
    """Raise TableError for a change that the rows of purged days cannot follow."""
    where = f"signal.{model.name}"
    advice = "give the changed rollup a new name"
    for name, existing in table.columns.items():
        if name not in model.columns:
            raise TableError(f"{where} has the column {name}, which the model has not: {advice}")
        wanted = _CATALOGUE_TYPES.get(model.columns[name].data_type, model.columns[name].data_type)
        if existing.data_type != wanted:
            raise TableError(f"{where}: {name} is {existing.data_type}, not {wanted}: {advice}")
        if existing.nullable and not model.columns[name].nullable:
            raise TableError(f"{where}: {name} can be null in old rows: drop its test not_null")
    for name, column in model.columns.items():
        if name not in table.columns and not column.nullable:
            raise TableError(f"{where}: the new column {name} must not have the test not_null")
    if table.key != model.grain:
        raise TableError(f"{where}: the grain was ({', '.join(table.key)}): {advice}")


def _column_changes(model: Model, table: _Table) -> Iterator[Statement]:
    for name, column in model.columns.items():
        if name not in table.columns:
            yield sql.SQL("alter table {} add column {}").format(
                _qualified_name(model.name), _column_definition(column)
            )
        elif column.nullable and not table.columns[name].nullable:
            yield sql.SQL("alter table {} alter column {} drop not null").format(
                _qualified_name(model.name), sql.Identifier(name)
            )


def _trigger_and_comment_changes(model: Model, table: _Table) -> Iterator[Statement]:
    """Yield statements for the triggers and the comments that the table lacks."""
    name = _qualified_name(model.name)
    for trigger, definition in _TRIGGERS.items():
        if trigger not in table.triggers:
            yield sql.SQL("create or replace trigger {} {}").format(
                sql.Identifier(trigger), sql.SQL(definition).format(table=name)
            )
    if table.comment != model.description:
        yield sql.SQL("comment on table {} is {}").format(name, model.description)
    for column in model.columns.values():
        if table.columns[column.name].comment != column.description:
            yield sql.SQL("comment on column {}.{} is {}").format(
                name, sql.Identifier(column.name), column.description
            )


def _grant_missing(connection: Connection, table: str) -> Iterator[Statement]:
    for role, privilege in _missing_grants(connection, table):
        yield _run(connection, _grant(table, role, privilege))


def _grant(relation: str, role: str, privilege: str) -> Statement:
    return sql.SQL("grant {} on {} to {}").format(
        sql.SQL(privilege),
        _qualified_name(relation),
        sql.Identifier(role),
    )


def _table_facts(connection: Connection, model: Model) -> _Table | None:
    cursor = connection.cursor(row_factory=kwargs_row(_Table.of_catalogue))
    return cursor.execute(query(__package__, "table_facts"), {"table": model.name}).fetchone()


def _missing_grants(connection: Connection, table: str) -> list[tuple[str, str]]:
    roles, privileges = zip(*_TABLE_GRANTS, strict=True)
    return connection.execute(
        query(__package__, "missing_grants"),
        {
            "schema": "signal",
            "relation": table,
            "roles": list(roles),
            "privileges": list(privileges),
        },
    ).fetchall()


def _qualified_name(name: str) -> sql.Identifier:
    return sql.Identifier("signal", name)
