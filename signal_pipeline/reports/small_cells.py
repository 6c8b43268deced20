"""Small cells: which rows of an answer are left out below admin, so that no difference of answers gives one back.

The parts are groups (one day, app and event type) and their splits by one of `SPLITS`. In a split with a small cell, large
cells are left out with the small ones until the sum of all that is left out tells nothing of any. Every other row is a sum of
parts, over days, apps or types, and is left out with any of them. By two or more of `SPLITS` together nothing is shown unless
the crossing of all of them has no small cell. So whatever can be worked out is a sum of what was shown (docs/privacy.md).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql as composed

from signal_pipeline.rollups.models import Model
from signal_pipeline.store.database import Connection, sql

LEAST_USERS = 5
GROUP, CROSSING = "group", "crossing"
SPLITS = ("route", "device_type", "browser_family", "os_family")
_GROUPED_BY = ("activity_date", "app_name", "event_type")
Row = Mapping[object, object]
Clause = composed.Composed


@dataclass(frozen=True, slots=True)
class HiddenRows:
    """The rows that are left out: their values of `columns`."""

    columns: Sequence[str]
    values: Collection[tuple[object, ...]]

    def holds(self, row: Row) -> bool:
        """Whether a row of the answer is left out."""
        return tuple(row[column] for column in self.columns) in self.values


def hidden_of_rollup(
    connection: Connection,
    models: Mapping[str, Model],
    dimensions: Sequence[str],
    period: tuple[str, composed.Composable],
    parameters: Mapping[str, object],
) -> HiddenRows:
    """Of a rollup's rows over periods; `period` is the column's name and its SQL, the `parameters` are the report's."""
    (split,) = [name for name in dimensions if name in SPLITS] or [GROUP]
    name, expression = period
    columns = [(name, expression), ("app_name", composed.Identifier("app_name")), ("event_type", composed.SQL("kind"))]
    if split != GROUP:
        columns.append((split, composed.Identifier("value")))
    wanted = composed.SQL("and (%(event_type)s::text is null or kind = %(event_type)s)")
    # Each type's part is also a part of the row over all types.
    kinds = composed.SQL("(event_type), ('(all)')")
    return _hidden(connection, _rollup_parts(models), columns, kinds, wanted, {**parameters, "dimension": split})


def hidden_of_raw(
    connection: Connection,
    keys: Sequence[str],
    filters: Mapping[str, str],
    window: Mapping[str, object],
) -> HiddenRows:
    """Of rows counted from raw events by `keys`, columns, under `filters`, values by column."""
    splits = {column for column in (*keys, *filters) if column in SPLITS}
    dimension = CROSSING if len(splits) > 1 else min(splits, default=GROUP)
    columns = [
        (key, composed.Identifier("value" if key == dimension else key))
        for key in keys
        if key in (*_GROUPED_BY, dimension)
    ]
    within = [_equals(column, column) for column in filters if column in _GROUPED_BY]
    parts = composed.SQL(sql("small_cells_raw")).format(filters=composed.SQL(" ").join(within))
    wanted = _equals("value", dimension) if dimension in filters else composed.SQL("")
    values = {**{f"where {column}": value for column, value in filters.items()}, **window, "dimension": dimension}
    return _hidden(connection, parts, columns, composed.SQL("(event_type)"), wanted, values)


def _equals(column: str, name: str) -> Clause:
    return composed.SQL("and {} = {}").format(composed.Identifier(column), composed.Placeholder(f"where {name}"))


def _rollup_parts(models: Mapping[str, Model]) -> Clause:
    values: dict[str, composed.Composable] = {"daily_app_activity": composed.Literal("")}
    for name, model in models.items():
        if len(model.dimensions) == 1 and model.dimensions[0] in SPLITS:
            values[name] = composed.Identifier(model.dimensions[0])
    return composed.SQL(" union all ").join(
        composed.SQL(sql("small_cells_rollup")).format(
            dimension=composed.Literal((*models[name].dimensions, GROUP)[0]),
            value=value,
            rollup=composed.Identifier(name),
        )
        for name, value in values.items()
        if name in models
    )


def _hidden(
    connection: Connection,
    parts: Clause,
    columns: Sequence[tuple[str, composed.Composable]],
    kinds: composed.Composable,
    filters: composed.Composable,
    parameters: Mapping[str, object],
) -> HiddenRows:
    expressions = [expression for _, expression in columns]
    query = composed.SQL(sql("small_cells")).format(
        parts=parts,
        columns=composed.SQL(", ").join(expressions),
        kinds=kinds,
        filters=filters,
        keys=composed.SQL(", ").join(expressions) if expressions else composed.SQL("()"),
    )
    rows = connection.execute(query, {**parameters, "least": LEAST_USERS}).fetchall()
    return HiddenRows([name for name, _ in columns], set(rows))
