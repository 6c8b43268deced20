"""Reports from the daily rollups, over any window, each number with its state.

Sums of daily users and sessions are headed as sums (requirements 8.3 and 8.4). `of_raw_events.py`
has the reports from raw events.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Literal

from psycopg import sql

from signal_pipeline.days.calendar import check_window
from signal_pipeline.days.coverage import read_coverage
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.identifiers import identifiers
from signal_pipeline.postgres.query import query
from signal_pipeline.reports.dimensions import KEYS, rollup_kinds, rollup_name
from signal_pipeline.reports.dropped_events import only_dropped_note
from signal_pipeline.reports.report import Report, Rows, labelled_report, read_rows
from signal_pipeline.reports.report_errors import QuestionError
from signal_pipeline.reports.rollup_labels import RollupLabels
from signal_pipeline.reports.small_cells import (
    HiddenRows,
    can_hide_small,
    hidden_of_rollup,
    part_built_notes,
)
from signal_pipeline.rollups.models import Model, Models

Period = Literal["day", "week", "total"]
# For each period: the column that says what a row's numbers cover, and its SQL.
_PERIODS: Mapping[Period, tuple[str, sql.SQL]] = {
    "day": ("activity_date", sql.SQL("activity_date")),
    "week": ("week", sql.SQL("to_char(activity_date, 'IYYY-\"W\"IW')")),
    "total": ("total", sql.SQL("null::text")),
}
# Columns that a report adds to those of its rollup.
_OWN_COLUMNS = ("state", "summed_daily_sessions", "summed_daily_users", "total", "week")


def rollup_report(
    database: Database,
    models: Models,
    kind: str,
    first: date,
    last: date,
    *,
    by: Period = "day",
    app: str | None = None,
    event_type: str | None = None,
    hide_small: bool = False,
) -> Report:
    """Return the rollup `daily_<kind>_activity` from `first` to `last`, inclusive, per period `by`.

    `by` is a day, an ISO week, or the total. Rows of the event type `(all)` are subtotals over all
    event types. Notes name the unknown days. With `hide_small`, small cells are left out, and so
    are the rows from which one could work them out. Raises WindowError. Raises QuestionError if the
    kind is unknown, if a column of the rollup has the name of a column that reports add, or if
    small cells cannot be left out.
    """
    with database.connect() as connection, connection.transaction():
        connection.execute("set transaction isolation level repeatable read read only")
        return read_rollup(
            connection,
            models,
            kind,
            first,
            last,
            by=by,
            app=app,
            event_type=event_type,
            hide_small=hide_small,
        )


def read_rollup(
    connection: Connection,
    models: Models,
    kind: str,
    first: date,
    last: date,
    *,
    by: Period = "day",
    app: str | None = None,
    event_type: str | None = None,
    hide_small: bool = False,
) -> Report:
    """Return a `rollup_report` as of the caller's snapshot, for several reports that must agree."""
    model = models.get(rollup_name(kind))
    if model is None:
        raise QuestionError(
            f"no rollup for {kind!r}: choose from {', '.join(rollup_kinds(models))}"
        )
    check_window(first, last)
    if taken := [column for column in _columns_without_date(model) if column in _OWN_COLUMNS]:
        raise QuestionError(
            f"{model.name} splits by a column {taken[0]!r}, and reports add a column of that name:"
            " read the rollup in signal_reporting, or, if nobody uses it yet, rename its column"
        )
    if hide_small and not can_hide_small(models, model.name):
        raise QuestionError(
            f"small cells of {kind!r} cannot be left out: the rule for them does not know this"
            " rollup, or the model of one of Signal's own rollups was changed, and no longer covers"
            " all events or has other dimensions"
        )
    filters = {"app_name": app, "event_type": event_type}
    coverage = read_coverage(connection, first, last)
    parameters = {"first": coverage.first, "last": coverage.last, **filters}
    rows = _rollup_rows(connection, model, by, parameters)
    labels = RollupLabels(connection, models, model.name, coverage)
    notes = labels.notes()
    if not rows.records and model.covers_all_events:
        notes += only_dropped_note(connection, coverage, {"app": app, "event-type": event_type})
    if not hide_small:
        return labelled_report(rows, labels.of_row, notes)
    hidden = hidden_of_rollup(
        connection, models, _columns_without_date(model), _PERIODS[by], parameters
    )
    notes += part_built_notes(connection, models, parameters)
    return labelled_report(rows, labels.of_row, notes, hidden)


def hidden_on_day(connection: Connection, models: Models, model: Model, day: date) -> HiddenRows:
    """Return the rows of a day that only admins get. `can_hide_small` must hold for the rollup."""
    window = {"first": day, "last": day, "app_name": None, "event_type": None}
    return hidden_of_rollup(
        connection, models, _columns_without_date(model), _PERIODS["day"], window
    )


def _rollup_rows(
    connection: Connection,
    model: Model,
    by: Period,
    parameters: Mapping[str, object],
) -> Rows:
    period_name, period = _PERIODS[by]
    exact = by == "day"
    statement = sql.SQL(query(__package__, "report_rollup")).format(
        period=period,
        period_name=sql.Identifier(period_name),
        dimensions=identifiers(_columns_without_date(model)),
        rollup=sql.Identifier(model.name),
        users_name=sql.Identifier("users" if exact else "summed_daily_users"),
        sessions_name=sql.Identifier("sessions" if exact else "summed_daily_sessions"),
    )
    return read_rows(connection, statement, parameters)


def _columns_without_date(model: Model) -> list[str]:
    """Return the columns of the grain except the date.

    A sum over days has one row for each combination of values of these columns.
    """
    return [column for column in model.grain if column != KEYS["day"].column]
