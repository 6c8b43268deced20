"""Reports by any combination of dimensions: counted exactly from raw events inside the retention.

Beyond it a rollup answers where it can: event counts, by one rollup's dimension at a time (requirements section 8). Whatever
cannot be right is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import LiteralString, cast

import pandas as pd
from psycopg import sql as composed

from signal_pipeline.reports import (
    ALL_TYPES,
    NONE,
    PurgedError,
    Report,
    ReportError,
    RollupLabels,
    check_window,
    frame,
    report_of,
)
from signal_pipeline.rollups.models import Model
from signal_pipeline.store.database import Connection, Database, safe_errors, sql
from signal_pipeline.store.days import days_between, today_utc, window
from signal_pipeline.store.quality import DayQuality, day_quality

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


def grouped_report(
    database: Database,
    models: Mapping[str, Model],
    keys: Sequence[str],
    where: Mapping[str, str],
    first: date,
    last: date,
) -> Report:
    """`raw_report` where every raw day of the window is kept, else from the rollup that has these dimensions.

    Raises ReportError when there is none, since a count of what is left would be too low.
    """
    keys, where = _checked_keys(keys, where, first, last), _as_stored(where)
    with safe_errors(), database.connect() as connection, connection.transaction():
        connection.execute("set transaction isolation level repeatable read read only")
        purged = _purged_days(connection, first, last)
        if purged:
            model = _rollup_of(models, keys, where)
            if model is None:
                raise _too_low(purged, keys)
            return _rollup_answer(connection, models, model, keys, where, first, last, purged)
        return _raw_answer(connection, keys, where, first, last)


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
    Raises ReportError for an unknown key, PurgedError for days whose raw events are gone.
    """
    keys, where = _checked_keys(keys, where, first, last), _as_stored(where)
    with safe_errors(), database.connect() as connection, connection.transaction():
        connection.execute("set transaction isolation level repeatable read read only")
        if purged := _purged_days(connection, first, last):
            raise _too_low(purged, keys)
        return _raw_answer(connection, keys, where, first, last)


def _checked_keys(keys: Sequence[str], where: Mapping[str, str], first: date, last: date) -> list[str]:
    check_window(first, last)
    for key in (*keys, *where):
        if key not in RAW_KEYS:
            raise ReportError(f"unknown key {key!r}: choose from {', '.join(RAW_KEYS)}")
    if not keys:
        raise ReportError("--group-by needs at least one key")
    return list(dict.fromkeys(keys))


def _as_stored(where: Mapping[str, str]) -> dict[str, str]:
    """The filters in the form that is stored: ids in lower case."""
    return {key: value.lower() if key == "entity" else value for key, value in where.items()}


def _purged_days(connection: Connection, first: date, last: date) -> list[date]:
    rows = connection.execute(
        "select day from signal.days where state = 'purged' and day between %s and %s order by day", [first, last]
    ).fetchall()
    return [cast(date, row[0]) for row in rows]


def _too_low(purged: Sequence[date], keys: Sequence[str]) -> PurgedError:
    return PurgedError(
        f"raw events of {len(purged)} day(s) in this window are purged (the first is {purged[0]}), so a count over"
        f" {', '.join(keys)} would be too low, and no rollup has these dimensions together"
    )


def _raw_answer(
    connection: Connection, keys: Sequence[str], where: Mapping[str, str], first: date, last: date
) -> Report:
    rows = _raw_rows(connection, keys, where, first, last)
    quality = day_quality(connection, first, last)
    missing = connection.execute(sql("days_missing_raw_events"), {"days": days_between(first, last)}).fetchall()
    incomplete = {cast(date, row[0]) for row in missing}
    return report_of(rows, lambda row: _raw_labels(row, quality, incomplete, first, last), [])


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
    filters = [_raw_filter(key, value) for key, value in where.items()]
    exact = "day" in keys or first == last
    query = composed.SQL(sql("report_raw")).format(
        columns=composed.SQL(", ").join(columns),
        keys=_columns(keys),
        filters=composed.SQL(" ").join(filters),
        users_name=composed.Identifier("users" if exact else "summed_daily_users"),
    )
    start, end = window(first, last)
    values = {f"where {key}": value for key, value in where.items()}
    return frame(connection, query, {"start": start, "end": end, **values})


def _raw_filter(key: str, value: str) -> composed.Composed:
    """An equality on the column itself, so that its index serves."""
    if key == "day":
        return composed.SQL("and {} = {}").format(composed.SQL(RAW_KEYS[key]), composed.Placeholder(f"where {key}"))
    if value == NONE:
        return composed.SQL("and {} is null").format(composed.Identifier(KEY_COLUMNS[key]))
    return composed.SQL("and {} = {}").format(
        composed.Identifier(KEY_COLUMNS[key]), composed.Placeholder(f"where {key}")
    )


def _raw_labels(
    row: Mapping[object, object],
    quality: Mapping[date, DayQuality],
    incomplete: set[date],
    first: date,
    last: date,
) -> list[str]:
    day = row.get("activity_date")
    days = [cast(date, day)] if day is not None else days_between(first, last)
    apps = [str(row["app_name"])] if "app_name" in row else None
    labels = {"partial"} if today_utc() in days else set[str]()
    if incomplete.intersection(days):
        labels.add("incomplete")
    for each in days:
        if each in quality:
            labels |= quality[each].labels(apps)
    return sorted(labels) or ["exact"]


def _rollup_of(models: Mapping[str, Model], keys: Sequence[str], where: Mapping[str, str]) -> Model | None:
    """The rollup that has all these dimensions; the one with the fewest rows where several do."""
    wanted = {KEY_COLUMNS[key] for key in (*keys, *where)} - {"activity_date", "app_name", "event_type"}
    able = [
        model
        for model in models.values()
        if wanted <= set(model.dimensions) and (model.covers_all_events or NONE not in where.values())
    ]
    return min(able, key=lambda model: len(model.dimensions), default=None)


def _rollup_answer(
    connection: Connection,
    models: Mapping[str, Model],
    model: Model,
    keys: Sequence[str],
    where: Mapping[str, str],
    first: date,
    last: date,
    purged: Sequence[date],
) -> Report:
    # Users and sessions are distinct within a row of the rollup, so they are shown only where no two rows of a day meet.
    told_apart = {KEY_COLUMNS[key] for key in (*keys, *where)} >= {"app_name", *model.dimensions}
    by_day = "day" in keys or first == last
    users_name, sessions_name = ("users", "sessions") if by_day else ("summed_daily_users", "summed_daily_sessions")
    values = {f"where {key}": value for key, value in where.items()}
    filters = [
        composed.SQL("and {} = {}").format(composed.Identifier(KEY_COLUMNS[key]), composed.Placeholder(f"where {key}"))
        for key in where
    ]
    if "event-type" not in where:
        types = "and event_type <> {}" if "event-type" in keys else "and event_type = {}"
        filters.append(composed.SQL(types).format(composed.Literal(ALL_TYPES)))
    query = composed.SQL(sql("report_grouped")).format(
        keys=_columns(keys),
        rollup=composed.Identifier(model.name),
        filters=composed.SQL(" ").join(filters),
        users_name=composed.Identifier(users_name),
        sessions_name=composed.Identifier(sessions_name),
    )
    rows = frame(connection, query, {"first": first, "last": last, **values})
    notes = [f"from {model.name}: raw events of {len(purged)} day(s) are purged, the first is {purged[0]}"]
    if not told_apart:
        rows = rows.drop(columns=[users_name, sessions_name])
        notes.append("no users or sessions: the same person may stand in several of the rows that are added up here")
    if not model.covers_all_events:
        notes.append("events without an entity are not in these numbers")
    labels = RollupLabels(connection, models, model.name, first, last)
    return report_of(rows, labels.of, [*notes, *labels.notes()])


def _columns(keys: Sequence[str]) -> composed.Composed:
    return composed.SQL(", ").join(composed.Identifier(KEY_COLUMNS[key]) for key in keys)
