"""Reports: the aggregates as a person or a script reads them, each number with its state.

Two ways in: `rollup_report` reads the daily rollups over any window; `raw_report` counts raw events, exactly, over any
combination of dimensions inside the retention. Sums of daily users and sessions are headed as sums (requirements section 8).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal, LiteralString, cast

import pandas as pd
from psycopg import sql as composed

from signal_pipeline.errors import SignalError
from signal_pipeline.rollups.models import Model
from signal_pipeline.store.database import Connection, Database, safe_errors, sql
from signal_pipeline.store.days import days_between, today_utc, window
from signal_pipeline.store.freshness import DayStatus, day_statuses
from signal_pipeline.store.quality import DayQuality, day_quality

Period = Literal["day", "week", "total"]
ALL_TYPES = "(all)"
MEASURES = ("events", "users", "sessions")
RAW_KEYS: Mapping[str, LiteralString] = {
    "day": "(created_at at time zone 'UTC')::date",
    "app": "app_name",
    "event-type": "event_type",
    "route": "coalesce(route, '(none)')",
    "entity-type": "coalesce(entity_type, '(none)')",
    "entity": "coalesce(entity_id, '(none)')",
    "device": "device_type",
    "browser": "browser_family",
    "os": "os_family",
}
KEY_COLUMNS: Mapping[str, str] = {
    "day": "activity_date",
    "app": "app_name",
    "event-type": "event_type",
    "route": "route",
    "entity-type": "entity_type",
    "entity": "entity_id",
    "device": "device_type",
    "browser": "browser_family",
    "os": "os_family",
}


class ReportError(SignalError):
    """A report that cannot be right is refused; the text says why and what to ask instead."""


@dataclass(frozen=True, slots=True)
class Report:
    """Rows, and notes that belong under them.

    For each row, `labels` are the words of its `state`, and `peak_users` the users of its largest day: at least so many
    people stand behind it.
    """

    rows: pd.DataFrame
    notes: list[str] = field(default_factory=list)
    labels: list[list[str]] = field(default_factory=list)
    peak_users: list[int] = field(default_factory=list)


def rollup_report(
    database: Database,
    models: Mapping[str, Model],
    kind: str,
    first: date,
    last: date,
    *,
    by: Period = "day",
    app: str | None = None,
    event_type: str | None = None,
) -> Report:
    """The rollup `daily_<kind>_activity` from `first` to `last`, inclusive, per day, ISO week or in total.

    Rows of the event type `(all)` are subtotals over all event types. Raises ReportError for an unknown kind or a
    window that ends before it begins.
    """
    model = models.get(f"daily_{kind}_activity")
    if model is None:
        raise ReportError(f"no rollup for {kind!r}: see `signal-pipeline report --help`")
    _check_window(first, last)
    filters = {"app_name": app, "event_type": event_type}
    with safe_errors(), database.connect() as connection, connection.transaction():
        connection.execute("set transaction isolation level repeatable read read only")
        rows = _rollup_rows(connection, model, first, last, by, filters)
        labels = _Labels(connection, models, model.name, first, last)
    return _report(rows, labels.of, labels.notes())


def raw_report(
    database: Database,
    keys: Sequence[str],
    where: Mapping[str, str],
    first: date,
    last: date,
) -> Report:
    """Exact counts from raw events by any keys of `RAW_KEYS`, under equality filters.

    With `day` among the keys, or over one day, users and sessions are distinct per row. Over several days, sessions are
    distinct over the window and users are headed `summed_daily_users`: users across days do not exist, on purpose.
    Raises ReportError for an unknown key and for days whose raw events are gone.
    """
    _check_window(first, last)
    keys = list(dict.fromkeys(keys))
    for key in (*keys, *where):
        if key not in RAW_KEYS:
            raise ReportError(f"unknown key {key!r}: choose from {', '.join(RAW_KEYS)}")
    if not keys:
        raise ReportError("--group-by needs at least one key")
    with safe_errors(), database.connect() as connection, connection.transaction():
        connection.execute("set transaction isolation level repeatable read read only")
        _refuse_purged(connection, keys, where, first, last)
        rows = _raw_rows(connection, keys, where, first, last)
        quality = day_quality(connection, first, last)
    return _report(rows, lambda row: _raw_labels(row, quality, first, last), [])


def _report(rows: pd.DataFrame, labels_of: Callable[[Mapping[object, object]], list[str]], notes: list[str]) -> Report:
    peaks = [int(peak) for peak in rows.pop("peak_users")]
    labels = [labels_of(row) for row in rows.to_dict("records")]
    rows["state"] = [", ".join(each) for each in labels]
    return Report(rows, notes, labels, peaks)


def _check_window(first: date, last: date) -> None:
    if first > last:
        raise ReportError(f"--from {first} is after --to {last}")


def _rollup_rows(
    connection: Connection,
    model: Model,
    first: date,
    last: date,
    by: Period,
    filters: Mapping[str, str | None],
) -> pd.DataFrame:
    dimensions = [column for column in model.columns if column not in ("activity_date", *MEASURES)]
    period = {
        "day": composed.SQL("activity_date"),
        "week": composed.SQL("to_char(activity_date, 'IYYY-\"W\"IW')"),
        "total": composed.SQL("null::text"),
    }[by]
    exact = by == "day"
    query = composed.SQL(sql("report_rollup")).format(
        period=period,
        period_name=composed.Identifier({"day": "activity_date", "week": "week", "total": "total"}[by]),
        dimensions=composed.SQL(", ").join(map(composed.Identifier, dimensions)),
        rollup=composed.Identifier(model.name),
        users_name=composed.Identifier("users" if exact else "summed_daily_users"),
        sessions_name=composed.Identifier("sessions" if exact else "summed_daily_sessions"),
    )
    parameters = {"first": first, "last": last, **filters}
    rows = _frame(connection, query, parameters)
    return rows.drop(columns=["total"]) if by == "total" else rows


def _raw_rows(
    connection: Connection, keys: Sequence[str], where: Mapping[str, str], first: date, last: date
) -> pd.DataFrame:
    columns = [
        composed.SQL("{} as {}").format(
            composed.SQL(RAW_KEYS[key]),
            composed.Identifier(KEY_COLUMNS[key]),
        )
        for key in keys
    ]
    filters = [
        composed.SQL("and {} = {}").format(composed.SQL(RAW_KEYS[key]), composed.Placeholder(f"where {key}"))
        for key in where
    ]
    exact = "day" in keys or first == last
    query = composed.SQL(sql("report_raw")).format(
        columns=composed.SQL(", ").join(columns),
        keys=composed.SQL(", ").join(composed.Identifier(KEY_COLUMNS[key]) for key in keys),
        filters=composed.SQL(" ").join(filters),
        users_name=composed.Identifier("users" if exact else "summed_daily_users"),
    )
    start, end = window(first, last)
    values = {f"where {key}": value for key, value in where.items()}
    return _frame(connection, query, {"start": start, "end": end, **values})


def _frame(connection: Connection, query: composed.Composed, parameters: Mapping[str, object]) -> pd.DataFrame:
    cursor = connection.execute(query, parameters)
    assert cursor.description is not None
    names = [column.name for column in cursor.description]
    return pd.DataFrame(cursor.fetchall(), columns=names)


def _refuse_purged(
    connection: Connection, keys: Sequence[str], where: Mapping[str, str], first: date, last: date
) -> None:
    rows = connection.execute(
        "select day from signal.days where state = 'purged' and day between %s and %s order by day",
        [first, last],
    ).fetchall()
    if not rows:
        return
    used = sorted({*keys, *where} - {"day", "app", "event-type"})
    kind = used[0] if len(used) == 1 else "entity" if used == ["entity", "entity-type"] else ""
    instead = (
        f"; a rollup answers this: `signal-pipeline report {kind or 'app'} --from {first} --to {last}`"
        if kind or not used
        else ""
    )
    raise ReportError(
        f"raw events of {len(rows)} day(s) in this window are purged (the first is {rows[0][0]}), so a count over"
        f" {', '.join(keys)} would be too low{instead}"
    )


def _raw_labels(row: Mapping[object, object], quality: Mapping[date, DayQuality], first: date, last: date) -> list[str]:
    day = row.get("activity_date")
    days = [cast(date, day)] if day is not None else days_between(first, last)
    apps = [str(row["app_name"])] if "app_name" in row else None
    labels = {"partial"} if today_utc() in days else set[str]()
    for each in days:
        if each in quality:
            labels |= quality[each].labels(apps)
    return sorted(labels) or ["exact"]


class _Labels:
    """What must stand beside the numbers of a rollup's rows."""

    def __init__(
        self,
        connection: Connection,
        models: Mapping[str, Model],
        rollup: str,
        first: date,
        last: date,
    ) -> None:
        self._rollup, self._first, self._last = rollup, first, last
        self._known: dict[tuple[date, date, str], list[str]] = {}  # A long report has few periods and apps.
        checksums = {name: model.checksum for name, model in models.items()}
        self._days = {status.day: status for status in day_statuses(connection, checksums, first, last)}
        self._quality = day_quality(connection, first, last)
        self._model_changes = connection.execute(
            sql("model_changes"), {"rollup": rollup, "first": first, "last": last}
        ).fetchall()

    def of(self, row: Mapping[object, object]) -> list[str]:
        """The labels of one row, over all days of its period: a day without a build is missing from every sum."""
        key = (*self._period(row), str(row["app_name"]))
        if key not in self._known:
            self._known[key] = self._of_period(*key)
        return self._known[key]

    def _of_period(self, first: date, last: date, app: str) -> list[str]:
        within_first, within_last = max(first, self._first), min(last, self._last)
        labels = {"partial"} if (first, last) != (within_first, within_last) else set[str]()
        for day in days_between(within_first, within_last):
            if day in self._days:
                labels |= self._of_day(self._days[day], app)
        return sorted(labels) or ["fresh"]

    def _period(self, row: Mapping[object, object]) -> tuple[date, date]:
        if "activity_date" in row:
            day = cast(date, row["activity_date"])
            return day, day
        if "week" in row:
            year, week = map(int, str(row["week"]).split("-W"))
            return date.fromisocalendar(year, week, 1), date.fromisocalendar(year, week, 7)
        return self._first, self._last

    def _of_day(self, status: DayStatus, app: str) -> set[str]:
        freshness = status.rollups[self._rollup]
        labels = {str(freshness)} - {"fresh"}
        if status.state == "purged":
            labels.add("purged")
        if status.day == today_utc():
            labels.add("partial")
        if status.day in self._quality:
            labels |= self._quality[status.day].labels([app])
        return labels

    def notes(self) -> list[str]:
        """What a reader must know of the whole window."""
        notes = []
        absent = [
            status.day for status in self._days.values() if status.rollups[self._rollup] in ("missing", "unavailable")
        ]
        if absent:
            notes.append(f"{len(absent)} day(s) have no {self._rollup} and are not in these numbers: {_listed(absent)}")
        stale = [status.day for status in self._days.values() if status.rollups[self._rollup] == "stale"]
        if stale:
            notes.append(
                f"{len(stale)} day(s) have newer events, or a newer model, than these numbers: {_listed(stale)}"
            )
        if len(self._model_changes) > 1:
            starts = [cast(date, row[1]) for row in self._model_changes]
            notes.append(
                f"the model of {self._rollup} changed inside this window; each version's first day: {_listed(starts)}"
            )
        return notes


def _listed(days: Sequence[date], most: int = 5) -> str:
    shown = ", ".join(str(day) for day in days[:most])
    return shown if len(days) <= most else f"{shown} and {len(days) - most} more"
