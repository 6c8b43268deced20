"""DuckDB on events that it holds already: the rollups' own SQL without any transfer, all results
kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import duckdb

from signal_pipeline.days.calendar import window
from signal_pipeline.rollups.models import Model


def load(parquet: Path) -> duckdb.DuckDBPyConnection:
    """A connection that holds the events of the file in its own format; as many threads as the
    engine takes.
    """
    connection = duckdb.connect(config={"threads": 2, "preserve_insertion_order": False})
    connection.execute("set TimeZone = 'UTC'")
    connection.execute("create schema signal")
    connection.execute(
        "create table signal.events as select * from read_parquet(?)", [str(parquet)]
    )
    return connection


def compute(connection: duckdb.DuckDBPyConnection, models: Mapping[str, Model], day: date) -> None:
    """Every rollup of the day."""
    for name, model in models.items():
        connection.execute(
            f"create or replace temporary table {name} as {model.sql}", list(window(day))
        )
