"""The two views of a rollup in `signal_reporting`: over all event types, and by event type.

People and BI tools read these views, not the tables. A view never mixes the rows over all event
types with the others, so that a plain sum of `events` is right. The distinct counts are named
`daily_users` and `daily_sessions`, so that the label of their sum says what was added up.
The migrations (`migrations/versions/`) make the views that are not of one rollup.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql
from psycopg.rows import class_row

from signal_pipeline.errors import SignalError
from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.query import query
from signal_pipeline.rollups.models import Model
from signal_pipeline.rollups.schema_yml import ALL_TYPES

SCHEMA = "signal_reporting"
NAMES = {"users": "daily_users", "sessions": "daily_sessions"}
PARTIAL = "is_partial"

_COMMENTS = {
    PARTIAL: "True until the day is over in UTC: its numbers still grow.",
    "event_type": "What happened: one event type.",
    "events": "How many events. Add them up freely over any rows of this view.",
    "daily_users": (
        "Distinct people of this UTC day and row. Never add these up: the same person counts again"
        " in every row and on every day."
    ),
    "daily_sessions": (
        "Distinct sessions of this UTC day and row; events without a session are not counted."
        " Never add these up over rows: the same session counts again."
    ),
}
_GRAIN = re.compile(r"\s*One row per [^.]*\.\s*$")


class ReportingViewError(SignalError):
    """A view of a rollup cannot be made: its name, or that of one of its columns, is taken."""


@dataclass(frozen=True, slots=True)
class ReportingColumn:
    """A column of a view; `source` is the column of the rollup, None if only the view has it."""

    name: str
    data_type: str
    description: str
    source: str | None


@dataclass(frozen=True, slots=True)
class _ViewFacts:
    """What exists of a view: its columns in order, their comments, and its own comment."""

    columns: Sequence[str]
    column_comments: Sequence[str | None]
    view_comment: str | None

    @property
    def comments(self) -> Mapping[str | None, str | None]:
        """Return the comments by column; that of the view has the key None."""
        of_columns = zip(self.columns, self.column_comments, strict=True)
        return {None: self.view_comment, **dict(of_columns)}


@dataclass(frozen=True, slots=True)
class ReportingView:
    """A view as readers see it; no two rows agree in the columns of the `grain`."""

    name: str
    description: str
    columns: tuple[ReportingColumn, ...]
    grain: tuple[str, ...]


def reporting_views(model: Model) -> tuple[ReportingView, ReportingView]:
    """Return the view of a rollup over all event types, and the one by event type."""
    over_all, by_type = (
        _reporting_view(model, name, by_type)
        for name, by_type in zip(view_names(model), (False, True), strict=True)
    )
    return over_all, by_type


def _reporting_view(model: Model, name: str, by_type: bool) -> ReportingView:
    columns = _columns(model, model.columns, by_type)
    comments = _comments(model, columns, by_type)
    sources = {NAMES.get(column, column): column for column in model.columns}
    return ReportingView(
        name,
        comments[None],
        tuple(
            ReportingColumn(
                column,
                "boolean" if column == PARTIAL else model.columns[sources[column]].data_type,
                comments[column],
                sources.get(column),
            )
            for column in columns
        ),
        tuple(column for column in model.grain if column in columns),
    )


def view_names(model: Model) -> tuple[str, str]:
    """Return the names of the views over all event types, and by event type."""
    return model.name, f"{model.name}_by_type"


def reporting_changes(
    connection: Connection, model: Model, table_columns: Mapping[str, object]
) -> Iterator[sql.Composed]:
    """Yield the statements that make both views, their comments and grants agree with the model.

    The caller runs each statement before it asks for the next one. `table_columns` must be in the
    order of the table, where a new column comes last: PostgreSQL can only append columns to a view.
    Raises ReportingViewError if the names of the model are taken.
    """
    for name, by_type in zip(view_names(model), (False, True), strict=True):
        columns = _columns(model, table_columns, by_type)
        present = _view_facts(connection, name)
        if present.columns != list(columns):
            if present.columns != list(columns)[: len(present.columns)]:
                raise ReportingViewError(
                    f"{SCHEMA}.{name} exists with other columns: rename the rollup, or drop that"
                    " view"
                )
            yield _create_view(model, name, columns, by_type)
        for column, comment in _comments(model, columns, by_type).items():
            if present.comments.get(column) != comment:
                yield _comment(name, column, comment)
        if connection.execute(
            query(__package__, "missing_grants"),
            {
                "schema": SCHEMA,
                "relation": name,
                "roles": ["signal_reader"],
                "privileges": ["select"],
            },
        ).fetchone():
            yield sql.SQL("grant select on {} to signal_reader").format(_qualified_name(name))


def _columns(
    model: Model, table_columns: Mapping[str, object], by_type: bool
) -> dict[str, sql.Composable]:
    """Return the columns of a view with their expressions, in the order of the table."""
    expressions: dict[str, sql.Composable] = {}
    for column in table_columns:
        if column != "event_type" or by_type:
            expressions[NAMES.get(column, column)] = sql.Identifier(column)
        if column == "activity_date":
            expressions[PARTIAL] = sql.SQL("activity_date >= (now() at time zone 'UTC')::date")
    taken = sorted({PARTIAL, *NAMES.values()} & set(table_columns))
    if taken:
        raise ReportingViewError(
            f"{model.name}: the views in {SCHEMA} have a column {taken[0]} of their own: rename"
            " the column of the model"
        )
    return expressions


def _create_view(
    model: Model, name: str, columns: Mapping[str, sql.Composable], by_type: bool
) -> sql.Composed:
    return sql.SQL("create or replace view {} as select {} from {} where event_type {} {}").format(
        _qualified_name(name),
        sql.SQL(", ").join(
            sql.SQL("{} as {}").format(expression, sql.Identifier(column))
            for column, expression in columns.items()
        ),
        sql.Identifier("signal", model.name),
        sql.SQL("<>" if by_type else "="),
        ALL_TYPES,
    )


def _comments(
    model: Model, columns: Mapping[str, sql.Composable], by_type: bool
) -> dict[str | None, str]:
    """Return the comment of the view, whose key is None, and those of its columns."""
    *first, last = [column for column in model.grain if column != "event_type" or by_type]
    table_names = {name: column for column, name in NAMES.items()}
    about = (
        f"{'By event type' if by_type else 'Over all event types'}. One row per"
        f" {', '.join(first)} and {last}. Add up events freely; never add up daily_users or"
        f" daily_sessions. From the rollup: {_GRAIN.sub('', model.description.strip())}"
    )
    return {
        None: about,
        **{
            name: _COMMENTS.get(name) or model.columns[table_names.get(name, name)].description
            for name in columns
        },
    }


def _comment(view: str, column: str | None, text: str) -> sql.Composed:
    if column is None:
        return sql.SQL("comment on view {} is {}").format(_qualified_name(view), text)
    return sql.SQL("comment on column {}.{} is {}").format(
        _qualified_name(view), sql.Identifier(column), text
    )


def _view_facts(connection: Connection, name: str) -> _ViewFacts:
    cursor = connection.cursor(row_factory=class_row(_ViewFacts))
    present = cursor.execute(query(__package__, "view_facts"), {"view": name}).fetchone()
    return present or _ViewFacts([], [], None)


def _qualified_name(name: str) -> sql.Identifier:
    return sql.Identifier(SCHEMA, name)
