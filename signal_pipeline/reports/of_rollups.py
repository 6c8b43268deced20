"""Reports from the daily rollups, over any window, each number with its state.

Sums of daily users and sessions are headed as sums (requirement 8.3). `of_raw_events.py` has the
reports from raw events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal, cast

import numpy as np
import pandas as pd
from psycopg import sql

from signal_pipeline.days.calendar import days_between
from signal_pipeline.days.coverage import Coverage, days_note, listed, read_coverage
from signal_pipeline.days.freshness import DayStatus, Freshness, day_statuses
from signal_pipeline.days.quality import day_quality
from signal_pipeline.errors import SignalError, UsageError
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.query import query
from signal_pipeline.reports.small_cells import SPLITS, HiddenRows, hidden_of_rollup
from signal_pipeline.rollups.models import Model, Models

Period = Literal["day", "week", "total"]
ALL_TYPES = "(all)"
NONE = "(none)"
MEASURES = ("events", "users", "sessions")
# For each period: the column that says what a row's numbers cover, and its SQL.
_PERIODS: Mapping[Period, tuple[str, sql.SQL]] = {
    "day": ("activity_date", sql.SQL("activity_date")),
    "week": ("week", sql.SQL("to_char(activity_date, 'IYYY-\"W\"IW')")),
    "total": ("total", sql.SQL("null::text")),
}


class ReportError(SignalError):
    """A report that cannot be right is refused; the text says why and what to ask instead."""


class QuestionError(ReportError, UsageError):
    """A question that makes no sense, whatever is stored. The exit code is 2."""


class PurgedError(ReportError):
    """Raw events of the window are gone, so a count of what is left would be too low."""


@dataclass(frozen=True, slots=True)
class Report:
    """Rows, and the notes that belong under them.

    For each row, `labels` are the words of its `state`. `hidden` holds the rows that only admins
    would see.
    """

    rows: pd.DataFrame
    notes: list[str] = field(default_factory=list)
    labels: list[list[str]] = field(default_factory=list)
    hidden: HiddenRows | None = None

    @property
    def left_out(self) -> int:
        """Return how many rows only admins would see."""
        return len(self.hidden.values) if self.hidden else 0


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
    are the rows from which one could work them out. Raises ReportError for an unknown kind or a
    window that ends before it begins.
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
    model = models.get(f"daily_{kind}_activity")
    if model is None:
        raise ReportError(f"no rollup for {kind!r}: see `signal-pipeline report --help`")
    check_window(first, last)
    if hide_small and not set(model.dimensions) <= set(SPLITS):
        raise QuestionError(
            f"small cells of {kind!r} cannot be left out: nearly every row of it is one"
        )
    filters = {"app_name": app, "event_type": event_type}
    coverage = read_coverage(connection, first, last)
    parameters = {"first": coverage.first, "last": coverage.last, **filters}
    rows = _rollup_rows(connection, model, by, parameters)
    labels = RollupLabels(connection, models, model.name, coverage)
    hidden = (
        hidden_of_rollup(connection, models, _dimensions(model), _PERIODS[by], parameters)
        if hide_small
        else None
    )
    return report_of(rows, labels.of, labels.notes(), hidden)


def report_of(
    rows: pd.DataFrame,
    labels_of: Callable[[Mapping[object, object]], list[str]],
    notes: list[str],
    hidden: HiddenRows | None = None,
) -> Report:
    """Return the report of the rows without those that are hidden.

    `labels_of` gives the words of a row's state.
    """
    if hidden is not None:
        shown = [not hidden.holds(row) for row in rows.to_dict("records")]
        # As an array: an empty list would select no column instead of no row.
        rows = rows[np.array(shown, dtype=bool)].reset_index(drop=True)
    rows = rows.drop(columns=["total"], errors="ignore")  # Covers the whole window, so it is null.
    labels = [labels_of(row) for row in rows.to_dict("records")]
    rows["state"] = [", ".join(each) for each in labels]
    return Report(rows, notes, labels, hidden)


def check_window(first: date, last: date) -> None:
    """Raise QuestionError for a window that ends before it begins."""
    if first > last:
        raise QuestionError(f"--from {first} is after --to {last}")


def _rollup_rows(
    connection: Connection,
    model: Model,
    by: Period,
    parameters: Mapping[str, object],
) -> pd.DataFrame:
    period_name, period = _PERIODS[by]
    exact = by == "day"
    statement = sql.SQL(query(__package__, "report_rollup")).format(
        period=period,
        period_name=sql.Identifier(period_name),
        dimensions=sql.SQL(", ").join(map(sql.Identifier, _dimensions(model))),
        rollup=sql.Identifier(model.name),
        users_name=sql.Identifier("users" if exact else "summed_daily_users"),
        sessions_name=sql.Identifier("sessions" if exact else "summed_daily_sessions"),
    )
    return frame(connection, statement, parameters)


def _dimensions(model: Model) -> list[str]:
    return [column for column in model.columns if column not in ("activity_date", *MEASURES)]


def frame(
    connection: Connection, statement: sql.Composed, parameters: Mapping[str, object]
) -> pd.DataFrame:
    """Return the rows of a statement."""
    cursor = connection.execute(statement, parameters)
    assert cursor.description is not None
    names = [column.name for column in cursor.description]
    return pd.DataFrame(cursor.fetchall(), columns=names)


class RollupLabels:
    """The labels and notes that must accompany the numbers of a rollup's rows."""

    def __init__(
        self, connection: Connection, models: Models, rollup: str, coverage: Coverage
    ) -> None:
        self._rollup, self._coverage = rollup, coverage
        self._untouched = set(coverage.untouched)
        # Labels are kept, since even a long report has few periods and apps.
        self._labels: dict[tuple[date, date, str | None], list[str]] = {}
        checksums = models.checksums
        first, last = coverage.known
        self._days = {
            status.day: status for status in day_statuses(connection, checksums, first, last)
        }
        self._quality = day_quality(connection, first, last)
        self._model_changes = connection.execute(
            query(__package__, "model_changes"), {"rollup": rollup, "first": first, "last": last}
        ).fetchall()

    def of(self, row: Mapping[object, object]) -> list[str]:
        """Return the labels of one row, over all days of its period.

        A day without a build is missing from every sum.
        """
        key = (*self._period(row), cast("str | None", row.get("app_name")))
        if key not in self._labels:
            self._labels[key] = self._of_period(*key)
        return self._labels[key]

    def _of_period(self, first: date, last: date, app: str | None) -> list[str]:
        labels = {"partial"} if self._coverage.cuts(first, last) else set[str]()
        known_first, known_last = self._coverage.known
        for day in days_between(max(first, known_first), min(last, known_last)):
            if day in self._untouched:
                labels.add("missing")
            elif day in self._days:
                labels |= self._of_day(self._days[day], app)
        return sorted(labels) or ["fresh"]

    def _period(self, row: Mapping[object, object]) -> tuple[date, date]:
        if "activity_date" in row:
            day = cast(date, row["activity_date"])
            return day, day
        if "week" in row:
            year, week = map(int, str(row["week"]).split("-W"))
            return date.fromisocalendar(year, week, 1), date.fromisocalendar(year, week, 7)
        return self._coverage.first, self._coverage.last

    def _of_day(self, status: DayStatus, app: str | None) -> set[str]:
        freshness = status.rollups[self._rollup]
        labels = {str(freshness)} - {"fresh"}
        if status.state == "purged":
            labels.add("purged")
        if status.day in self._quality:
            labels |= self._quality[status.day].labels(None if app is None else [app])
        return labels

    def notes(self) -> list[str]:
        """Return what a reader must know about the whole window."""
        today = self._coverage.today
        missing = [day for day in self._with("missing") if day < today]
        out = "so they are unknown and not in these numbers"
        return [
            *self._coverage.notes(),
            *days_note([*self._untouched, *missing], f"were never built, {out}"),
            *days_note(self._with("unavailable"), f"were purged without a {self._rollup}, {out}"),
            *days_note(
                self._with("incomplete"),
                "were purged before they were proven complete, so these numbers may be too low",
            ),
            *days_note(
                self._with("stale"), "have newer events, or a newer model, than these numbers"
            ),
            *self._coverage.today_note(is_built=today not in self._with("missing")),
            *self._model_note(),
        ]

    def _with(self, freshness: Freshness) -> list[date]:
        return [
            day for day, status in self._days.items() if status.rollups[self._rollup] == freshness
        ]

    def _model_note(self) -> list[str]:
        if len(self._model_changes) < 2:
            return []
        starts = [(cast(date, row[1]),) * 2 for row in self._model_changes]
        return [
            f"the model of {self._rollup} changed inside this window; each version's first day:"
            f" {listed(starts)}"
        ]
