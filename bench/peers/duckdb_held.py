"""DuckDB on events that it already holds.

It runs the rollups' own SQL without any transfer, and keeps all results.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import duckdb

from signal_pipeline.days.calendar import window
from signal_pipeline.rollups.models import Models


def load(parquet: Path) -> duckdb.DuckDBPyConnection:
    """Return a connection that holds the events of the file in DuckDB's own format.

    It has as many threads as Signal's DuckDB engine.
    """
    connection = duckdb.connect(config={"threads": 2, "preserve_insertion_order": False})
    connection.execute("set TimeZone = 'UTC'")
    connection.execute("create schema signal")
    connection.execute(
        "create table signal.events as select * from read_parquet(?)", [str(parquet)]
    )
    return connection


def compute(connection: duckdb.DuckDBPyConnection, models: Models, day: date) -> None:
    """Compute every rollup of the day."""
    for name, model in models.items():
        connection.execute(
            f"create or replace temporary table {name} as {model.select}", list(window(day))
        )
