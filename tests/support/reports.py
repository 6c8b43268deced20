"""Three days over the end of an ISO week, and the rows and states of their reports."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pandas as pd
from support.days import today

from signal_pipeline.postgres.database import Database
from signal_pipeline.reports.of_rollups import rollup_report
from signal_pipeline.reports.report import Report
from signal_pipeline.rollups.models import Models

SUNDAY = today() - timedelta(days=today().isoweekday() + 7)
WINDOW = [SUNDAY + timedelta(days=n) for n in (-1, 0, 1)]  # Over the end of an ISO week.
BuildDays = Callable[..., None]


def frame(report: Report) -> pd.DataFrame:
    """The rows of a report as a table of pandas."""
    return pd.DataFrame(report.rows.records, columns=report.rows.columns)


def rows_of(frame: pd.DataFrame, *without: str) -> set[tuple[object, ...]]:
    rows = [
        tuple(row) for row in frame.drop(columns=list(without)).itertuples(index=False, name=None)
    ]
    assert len(rows) == len(set(rows))
    return set(rows)


def states(
    database: Database, models: Models, first: date, last: date, **options: Any
) -> dict[str, str]:
    report = rollup_report(database, models, "app", first, last, event_type="(all)", **options)
    key = next(
        name for name in ("activity_date", "week", "app_name") if name in report.rows.columns
    )
    return {str(row[key]): str(row["state"]) for row in report.rows.records}
