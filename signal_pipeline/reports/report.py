"""A report: its rows, each with the labels of its state, and the notes under them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from psycopg import sql

from signal_pipeline.postgres.database import Connection
from signal_pipeline.reports.small_cells import HiddenRows


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


def labelled_report(
    rows: pd.DataFrame,
    labels_of: Callable[[Mapping[object, object]], list[str]],
    notes: list[str],
    hidden: HiddenRows | None = None,
) -> Report:
    """Return a report of the rows that are not hidden.

    `labels_of` returns the words of a row's state.
    """
    if hidden is not None:
        shown = [not hidden.hides(row) for row in rows.to_dict("records")]
        # As an array: an empty list would select no column instead of no row.
        rows = rows[np.array(shown, dtype=bool)].reset_index(drop=True)
    rows = rows.drop(columns=["total"], errors="ignore")  # Covers the whole window, so it is null.
    labels = [labels_of(row) for row in rows.to_dict("records")]
    rows["state"] = [", ".join(each) for each in labels]
    return Report(rows, notes, labels, hidden)


def read_frame(
    connection: Connection, statement: sql.Composed, parameters: Mapping[str, object]
) -> pd.DataFrame:
    """Return the rows of a statement."""
    cursor = connection.execute(statement, parameters)
    assert cursor.description is not None
    names = [column.name for column in cursor.description]
    return pd.DataFrame(cursor.fetchall(), columns=names)
