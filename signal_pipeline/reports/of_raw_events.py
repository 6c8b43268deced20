"""Reports by any combination of dimensions, counted exactly from raw events inside the retention.

Beyond the retention a rollup answers where it can: counts of events, by the dimension of one rollup
at a time (requirement 8.1). A report that cannot be right is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import LiteralString, cast

import pandas as pd
from psycopg import sql

from signal_pipeline.days.calendar import days_between, days_missing_raw_events, window
from signal_pipeline.days.coverage import Coverage, days_note, read_coverage
from signal_pipeline.days.quality import day_quality
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.query import query
from signal_pipeline.reports.dimensions import KEYS, Key, by_key, find_keys
from signal_pipeline.reports.of_rollups import (
    ALL_TYPES,
    NONE,
    PurgedError,
    QuestionError,
    Report,
    RollupLabels,
    check_window,
    frame,
    report_of,
)
from signal_pipeline.reports.small_cells import HiddenRows, hidden_of_raw
from signal_pipeline.rollups.models import Model, Models


@dataclass(frozen=True, slots=True)
class _Question:
    """What is counted, and by which keys.

    `where` holds filters by the names of keys; a filter by day has narrowed `first` and `last`
    instead. `one_day` is true if the window was one day before that.
    """

    keys: Sequence[Key]
    where: Mapping[str, str]
    first: date
    last: date
    one_day: bool

    @property
    def by_day(self) -> bool:
        """True if the users and sessions of a row are those of one day."""
        return self.one_day or KEYS["day"] in self.keys

    @property
    def dimensions(self) -> set[str]:
        """The columns that the question groups by or filters."""
        return {key.column for key in (*self.keys, *(KEYS[name] for name in self.where))}


# Taken before the snapshot: a later purge would drop the partition of a day that is open in the
# snapshot, and the day would count as zero.
KEEP_PARTITIONS: LiteralString = "lock table only signal.events in access share mode"


def grouped_report(
    database: Database,
    models: Models,
    keys: Sequence[str],
    where: Mapping[str, str],
    first: date,
    last: date,
) -> Report:
    """Return a `raw_report` if all raw days of the window are kept, else a report from a rollup.

    The rollup must have all dimensions of the question. Raises ReportError if there is none, since
    a count of what is left would be too low.
    """
    asked = _question(keys, where, first, last)
    with database.connect() as connection, connection.transaction():
        connection.execute("set transaction isolation level repeatable read read only")
        connection.execute(KEEP_PARTITIONS)
        coverage = read_coverage(connection, asked.first, asked.last)
        if not coverage.purged:
            return _raw_answer(connection, asked, coverage)
        model = _rollup_of(models, asked)
        if model is None:
            raise _too_low(coverage, asked)
        return _rollup_answer(connection, models, model, asked, coverage)


def raw_report(
    database: Database,
    keys: Sequence[str],
    where: Mapping[str, str],
    first: date,
    last: date,
    *,
    hide_small: bool = False,
) -> Report:
    """Return exact counts from raw events by any keys of `KEYS`, under equality filters.

    With `day` among the keys, or over one day, users and sessions are distinct per row. Over
    several days, sessions are distinct over the window, and users are headed `summed_daily_users`:
    users across days do not exist, on purpose. With `hide_small`, small cells are left out, and so
    are the rows from which one could work them out. Notes name the unknown days. Raises
    QuestionError for an unknown key, PurgedError for days whose raw events are gone.
    """
    asked = _question(keys, where, first, last, hide_small=hide_small)
    with database.connect() as connection, connection.transaction():
        connection.execute("set transaction isolation level repeatable read read only")
        connection.execute(KEEP_PARTITIONS)
        coverage = read_coverage(connection, asked.first, asked.last)
        if coverage.purged:
            raise _too_low(coverage, asked)
        return _raw_answer(connection, asked, coverage, hide_small=hide_small)


def _question(
    keys: Sequence[str],
    where: Mapping[str, str],
    first: date,
    last: date,
    *,
    hide_small: bool = False,
) -> _Question:
    check_window(first, last)
    if not keys:
        raise QuestionError("--group-by needs at least one key")
    found, filters, one_day = find_keys(keys), by_key(list(where.items())), first == last
    if (text := filters.pop("day", None)) is not None:
        first, last = (_day_within(text, first, last),) * 2
    if hide_small and {"entity", "entity-type"} & {*filters, *(key.name for key in found)}:
        raise QuestionError("small cells by entity cannot be left out: nearly every row is one")
    if "entity" in filters:
        filters["entity"] = filters["entity"].lower()  # Ids are stored in lower case.
    return _Question(found, filters, first, last, one_day)


def _day_within(text: str, first: date, last: date) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise QuestionError(f"no day {text!r}: write YYYY-MM-DD") from None
    if not first <= day <= last:
        raise QuestionError(f"the day {day} lies outside the window, {first} to {last}")
    return day


def _too_low(coverage: Coverage, asked: _Question) -> PurgedError:
    purged = coverage.purged
    return PurgedError(
        f"raw events of {len(purged)} day(s) in this window are purged (the first is {purged[0]}),"
        f" so a count over {', '.join(key.name for key in asked.keys)} would be too low, and no"
        " rollup has these dimensions together"
    )


def _raw_answer(
    connection: Connection, asked: _Question, coverage: Coverage, *, hide_small: bool = False
) -> Report:
    rows = _raw_rows(connection, asked, coverage)
    labels = _RawLabels(connection, coverage)
    hidden = _hidden(connection, asked, coverage) if hide_small else None
    return report_of(rows, labels.of, labels.notes(), hidden)


def _hidden(connection: Connection, asked: _Question, coverage: Coverage) -> HiddenRows:
    start, end = window(*coverage.known)
    filters = {KEYS[name].column: value for name, value in asked.where.items()}
    return hidden_of_raw(
        connection, [key.column for key in asked.keys], filters, {"start": start, "end": end}
    )


def _raw_rows(connection: Connection, asked: _Question, coverage: Coverage) -> pd.DataFrame:
    columns = [
        sql.SQL("{} as {}").format(sql.SQL(key.raw), sql.Identifier(key.column))
        for key in asked.keys
    ]
    filters = [_raw_filter(KEYS[name], value) for name, value in asked.where.items()]
    statement = sql.SQL(query(__package__, "report_raw")).format(
        columns=sql.SQL(", ").join(columns),
        keys=_columns(asked.keys),
        filters=sql.SQL(" ").join(filters),
        users_name=sql.Identifier("users" if asked.by_day else "summed_daily_users"),
    )
    start, end = window(*coverage.known)
    return frame(connection, statement, {"start": start, "end": end, **_values(asked)})


def _values(asked: _Question) -> dict[str, str]:
    return {f"where {name}": value for name, value in asked.where.items()}


def _equals(key: Key) -> sql.Composed:
    return sql.SQL("and {} = {}").format(
        sql.Identifier(key.column), sql.Placeholder(f"where {key.name}")
    )


def _raw_filter(key: Key, value: str) -> sql.Composed:
    """Return an equality on the column itself, so that PostgreSQL can use its index."""
    if value == NONE:
        return sql.SQL("and {} is null").format(sql.Identifier(key.column))
    return _equals(key)


class _RawLabels:
    """The labels and notes that must accompany numbers counted from raw events."""

    def __init__(self, connection: Connection, coverage: Coverage) -> None:
        self._coverage = coverage
        self._quality = day_quality(connection, *coverage.known)
        self._incomplete = {*days_missing_raw_events(connection, list(coverage.states))}
        # A day without any event is known to have none, unless Signal was not yet installed.
        self._before_us = {day for day in coverage.untouched if day < coverage.installed}

    def of(self, row: Mapping[object, object]) -> list[str]:
        """Return the labels of one row, over all days that it counts."""
        first = last = cast("date | None", row.get("activity_date"))
        if first is None or last is None:
            first, last = self._coverage.first, self._coverage.last
        apps = [str(row["app_name"])] if "app_name" in row else None
        known_first, known_last = self._coverage.known
        labels = {"partial"} if self._coverage.cuts(first, last) else set[str]()
        for day in days_between(max(first, known_first), min(last, known_last)):
            if day in self._before_us:
                labels.add("partial")
            if day in self._incomplete:
                labels.add("incomplete")
            if day in self._quality:
                labels |= self._quality[day].labels(apps)
        return sorted(labels) or ["exact"]

    def notes(self) -> list[str]:
        """Return what a reader must know about the whole window."""
        installed = self._coverage.installed
        silent = set(self._coverage.untouched) - self._before_us
        return [
            *self._coverage.notes(),
            *days_note(
                self._before_us,
                f"are before Signal was installed on {installed}, nothing of them was replayed, and"
                " they are unknown",
            ),
            *days_note(silent, "have no event of any app"),
            *days_note(
                self._incomplete,
                "hold fewer raw events than the books say, so these numbers are too low",
            ),
            *self._coverage.today_note(),
        ]


def _rollup_of(models: Models, asked: _Question) -> Model | None:
    """Return the rollup with the fewest dimensions among those that have all these dimensions."""
    wanted = asked.dimensions - {"activity_date", "app_name", "event_type"}
    able = [
        model
        for model in models.values()
        if wanted <= set(model.dimensions)
        and (model.covers_all_events or NONE not in asked.where.values())
    ]
    return min(able, key=lambda model: len(model.dimensions), default=None)


def _rollup_answer(
    connection: Connection,
    models: Models,
    model: Model,
    asked: _Question,
    coverage: Coverage,
) -> Report:
    # Users and sessions are distinct within a row of the rollup, so they are shown only if each row
    # of the report is one rollup row per day.
    told_apart = asked.dimensions >= {"app_name", *model.dimensions}
    users_name, sessions_name = (
        ("users", "sessions") if asked.by_day else ("summed_daily_users", "summed_daily_sessions")
    )
    filters = [_equals(KEYS[name]) for name in asked.where]
    if "event-type" not in asked.where:
        types = (
            "and event_type <> {}" if KEYS["event-type"] in asked.keys else "and event_type = {}"
        )
        filters.append(sql.SQL(types).format(sql.Literal(ALL_TYPES)))
    statement = sql.SQL(query(__package__, "report_grouped")).format(
        keys=_columns(asked.keys),
        rollup=sql.Identifier(model.name),
        filters=sql.SQL(" ").join(filters),
        users_name=sql.Identifier(users_name),
        sessions_name=sql.Identifier(sessions_name),
    )
    rows = frame(
        connection, statement, {"first": coverage.first, "last": coverage.last, **_values(asked)}
    )
    notes = days_note(
        coverage.purged, f"have no raw events any more, so these numbers are from {model.name}"
    )
    if not told_apart:
        rows = rows.drop(columns=[users_name, sessions_name])
        notes.append(
            "no users or sessions: the same person may stand in several of the rows that are added"
            " up here"
        )
    if not model.covers_all_events:
        notes.append("events without an entity are not in these numbers")
    labels = RollupLabels(connection, models, model.name, coverage)
    return report_of(rows, labels.of, [*notes, *labels.notes()])


def _columns(keys: Sequence[Key]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(key.column) for key in keys)
