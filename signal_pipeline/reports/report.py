"""A report: its rows, each with the labels of its state, and the notes under them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from psycopg import sql
from psycopg.rows import dict_row

from signal_pipeline.postgres.database import Connection
from signal_pipeline.reports.small_cells import HiddenRows


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows by the names of their columns, which are known even if there is no row."""

    columns: list[str]
    records: list[dict[str, Any]]

    def without(self, *names: str) -> Rows:
        """Return the rows without these columns."""
        columns = [name for name in self.columns if name not in names]
        return Rows(columns, [{name: row[name] for name in columns} for row in self.records])


@dataclass(frozen=True)
class Report:
    """Rows, and the notes that belong under them.

    For each record, `labels` are the words of its `state`. `hidden` holds the rows that only admins
    would see.
    """

    columns: list[str]
    records: list[dict[str, Any]]
    notes: list[str] = field(default_factory=list)
    labels: list[list[str]] = field(default_factory=list)
    hidden: HiddenRows | None = None

    @property
    def rows(self) -> Rows:
        """The records with their labels as the column `state`."""
        labelled = zip(self.records, self.labels, strict=True)
        return Rows(
            [*self.columns, "state"],
            [{**record, "state": ", ".join(labels)} for record, labels in labelled],
        )

    @property
    def left_out(self) -> int:
        """Return how many rows only admins would see."""
        return len(self.hidden.values) if self.hidden else 0


def labelled_report(
    rows: Rows,
    labels_of: Callable[[Mapping[str, Any]], list[str]],
    notes: list[str],
    hidden: HiddenRows | None = None,
) -> Report:
    """Return a report of the rows that are not hidden.

    `labels_of` returns the words of a row's state.
    """
    if hidden is not None:
        rows = Rows(rows.columns, [row for row in rows.records if not hidden.hides(row)])
    if "total" in rows.columns:  # Always null: each row covers the whole window.
        rows = rows.without("total")
    return Report(
        rows.columns, rows.records, notes, [labels_of(row) for row in rows.records], hidden
    )


def read_rows(
    connection: Connection, statement: sql.Composed, parameters: Mapping[str, object]
) -> Rows:
    """Return the rows of a statement."""
    cursor = connection.cursor(row_factory=dict_row)
    records = cursor.execute(statement, parameters).fetchall()
    assert cursor.description is not None
    return Rows([column.name for column in cursor.description], records)
