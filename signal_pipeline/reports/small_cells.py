"""What callers below admin do not get: small cells, and rows from which one could be worked out.

The rules are applied to parts. A part is a group (one day, app and event type), or a cell of a
group's split by one of `SPLITS`. These are the rules:

- A group with few people, or with few people for the number of its cells, is left out with all its
  splits.
- A group is also left out if the rollups of its day are not all built yet, since a rollup that is
  built later can have small cells. The same holds if the rollups were built from different events
  of the day.
- Device, browser and system nest. If one of these splits has a small cell, all three are left out.
- If a split by route has a small cell, large cells are left out with the small ones, until the sum
  of all that is left out says nothing about any of them.
- Every other row is a sum of parts, over days, apps or types. If one of its parts is left out, the
  row is too.
- The crossing of a group is its split by all of `SPLITS` at once. If the crossing has a small cell,
  an answer by two or more of `SPLITS` together shows nothing of the group.

So everything that can be worked out is a sum of what was shown (docs/privacy.md).

For a report from a rollup, the rules read one rollup of groups and one of each split, and callers
below admin get no other rollup. For a count of raw events, they read the raw events.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from time import monotonic
from typing import Any, NamedTuple

from psycopg import sql
from psycopg.rows import class_row, scalar_row

from signal_pipeline.days.calendar import window
from signal_pipeline.days.coverage import Span, days_note
from signal_pipeline.postgres.database import Connection, DatabaseError
from signal_pipeline.postgres.query import query
from signal_pipeline.reports.dimensions import GROUPS, KEYS, SPLITS, rollup_name
from signal_pipeline.rollups.models import Model, Models

LEAST_USERS = 5
GROUP, CROSSING = "group", "crossing"
# The rollups that hold the parts: what each splits a group by.
_SPLIT_OF_ROLLUP = {rollup_name("app"): GROUP} | {
    rollup_name(key.name): key.column for key in KEYS.values() if key.kind == "split"
}
Row = Mapping[str, object]
Clause = sql.Composed


@dataclass(frozen=True, slots=True)
class HiddenRows:
    """The rows that are left out, as their values of `columns`."""

    columns: Sequence[str]
    values: Collection[tuple[Any, ...]]

    def hides(self, row: Row) -> bool:
        """True if this row of the answer is left out."""
        return tuple(row[column] for column in self.columns) in self.values


def hidden_of_rollup(
    connection: Connection,
    models: Models,
    dimensions: Sequence[str],
    period: tuple[str, sql.Composable],
    parameters: Mapping[str, object],
) -> HiddenRows:
    """Return the hidden rows of a report from one rollup, per period.

    `period` is the name of the period's column and its SQL; `parameters` are those of the report.
    """
    (split,) = [name for name in dimensions if name in SPLITS] or [GROUP]
    name, expression = period
    columns = [
        (name, expression),
        ("app_name", sql.Identifier("app_name")),
        ("event_type", sql.SQL("kind")),
    ]
    if split != GROUP:
        columns.append((split, sql.Identifier("value")))
    wanted = sql.SQL("and (%(event_type)s::text is null or kind = %(event_type)s)")
    # The part of each type also counts towards the row over all types.
    kinds = sql.SQL("(event_type), ('(all)')")
    rollups = _split_rollups(models)
    in_part = _days_built_in_part(connection, rollups, parameters)
    values = {
        **parameters,
        "dimension": split,
        "dimensions": [_SPLIT_OF_ROLLUP[name] for name in rollups],
        "final": _purged_days(connection, parameters),
        "mixed": [each.day for each in in_part if each.is_mixed],
    }
    hidden = _hidden_rows(
        connection,
        _rollup_parts(models),
        [expression for _, expression in columns],
        kinds,
        wanted,
        values,
    )
    return HiddenRows([name for name, _ in columns], hidden)


def _purged_days(connection: Connection, parameters: Mapping[str, object]) -> list[date]:
    """Return the purged days of the window: no rollup of them will be built again."""
    scalar = connection.cursor(row_factory=scalar_row)
    return scalar.execute(
        "select day from signal.days where state = 'purged' and day between %(first)s and %(last)s",
        parameters,
    ).fetchall()


def part_built_notes(
    connection: Connection, models: Models, parameters: Mapping[str, object]
) -> list[str]:
    """Return notes on the days that a rollup's report leaves out because they are built in part."""
    days = _days_built_in_part(connection, _split_rollups(models), parameters)
    return [
        *days_note(
            (each.day for each in days if not each.is_purged),
            "are built in part: rows of theirs are left out, however many people they count, until"
            " every rollup is built from the same events",
        ),
        *days_note(
            (each.day for each in days if each.is_purged),
            "were built from different events before their purge: their rows are left out for good",
        ),
    ]


class _DayBuiltInPart(NamedTuple):
    day: date
    is_purged: bool
    is_mixed: bool


def _days_built_in_part(
    connection: Connection, rollups: Sequence[str], parameters: Mapping[str, object]
) -> list[_DayBuiltInPart]:
    cursor = connection.cursor(row_factory=class_row(_DayBuiltInPart))
    return cursor.execute(
        query(__package__, "days_built_in_part"), {**parameters, "rollups": rollups}
    ).fetchall()


def _split_rollups(models: Models) -> list[str]:
    return [name for name in _SPLIT_OF_ROLLUP if name in models]


def hidden_of_raw(
    connection: Connection,
    keys: Sequence[str],
    filters: Mapping[str, str],
    spans: Sequence[Span],
) -> HiddenRows:
    """Return the hidden rows of a count, by the columns `keys`, of the raw events in `spans`.

    `filters` holds values by column. Each span is judged in hash tables of its own, so spans should
    be short. Raises DatabaseError if all spans together take longer than the connection allows for
    one statement.
    """
    splits = {column for column in (*keys, *filters) if column in SPLITS}
    dimension = CROSSING if len(splits) > 1 else min(splits, default=GROUP)
    columns = [
        (key, sql.Identifier("value" if key == dimension else key))
        for key in keys
        if key in (*GROUPS, dimension)
    ]
    expressions = [expression for _, expression in columns]
    within = [_equals(column, column) for column in filters if column in GROUPS]
    parts = sql.SQL(query(__package__, "small_cells_raw")).format(filters=sql.SQL(" ").join(within))
    wanted = _equals("value", dimension) if dimension in filters else sql.SQL("")
    asked = {f"where {column}": value for column, value in filters.items()}
    hidden = set[tuple[Any, ...]]()
    bound = _statement_bound(connection)
    give_up = monotonic() + bound.total_seconds()
    for span in spans:  # A group is of one day, so no span needs to know another.
        if bound and monotonic() > give_up:
            raise DatabaseError("judging small cells took too long", "57014")
        start, end = window(*span)
        values = {
            **asked,
            "start": start,
            "end": end,
            "dimension": dimension,
            "dimensions": [GROUP, *SPLITS, CROSSING],
            "final": [],
            "mixed": [],
        }
        hidden |= _hidden_rows(
            connection, parts, expressions, sql.SQL("(event_type)"), wanted, values
        )
    return HiddenRows([name for name, _ in columns], hidden)


def _statement_bound(connection: Connection) -> timedelta:
    """Return how long a statement may take; zero means that there is no bound."""
    row = connection.execute("select current_setting('statement_timeout')::interval").fetchone()
    assert row is not None
    bound: timedelta = row[0]
    return bound


def _equals(column: str, name: str) -> Clause:
    return sql.SQL("and {} = {}").format(sql.Identifier(column), sql.Placeholder(f"where {name}"))


def can_hide_small(models: Models, name: str) -> bool:
    """Return whether the small cells of a rollup can be left out, and the rest be shown.

    This is so if its rows are parts, and sums of parts. The rules need every part that anybody can
    see in a rollup. So each existing rollup of parts must cover all events, and split groups only
    as `_SPLIT_OF_ROLLUP` says.
    """
    present = [models[part] for part in _SPLIT_OF_ROLLUP if part in models]
    return name in _SPLIT_OF_ROLLUP and all(map(_holds_parts, present))


def _holds_parts(model: Model) -> bool:
    split = _SPLIT_OF_ROLLUP[model.name]
    dimensions = [] if split == GROUP else [split]
    return model.covers_all_events and [*model.dimensions] == dimensions


def _rollup_parts(models: Models) -> Clause:
    return sql.SQL(" union all ").join(
        sql.SQL(query(__package__, "small_cells_rollup")).format(
            dimension=sql.Literal(split),
            value=sql.Literal("") if split == GROUP else sql.Identifier(split),
            rollup=sql.Identifier(name),
        )
        for name, split in _SPLIT_OF_ROLLUP.items()
        if name in models
    )


def _hidden_rows(
    connection: Connection,
    parts: Clause,
    columns: Sequence[sql.Composable],
    kinds: sql.Composable,
    filters: sql.Composable,
    parameters: Mapping[str, object],
) -> set[tuple[Any, ...]]:
    statement = sql.SQL(query(__package__, "small_cells")).format(
        parts=parts,
        columns=sql.SQL(", ").join(columns),
        kinds=kinds,
        filters=filters,
        keys=sql.SQL(", ").join(columns) if columns else sql.SQL("()"),
    )
    return set(connection.execute(statement, {**parameters, "least": LEAST_USERS}).fetchall())
