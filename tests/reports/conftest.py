"""Traffic of three days, and how to build some days."""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from conftest import SECRET, START_DATE
from support.oracle import Oracle
from support.reports import WINDOW, BuildDays, Models
from support.traffic import traffic

from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Database
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.postgres_engine import PostgresEngine


@pytest.fixture
def build_days(database: Database, models: Models) -> BuildDays:
    """Builds every rollup of the given days."""

    def build_all(*days: date) -> None:
        for day in days:
            build_day(database, PostgresEngine(), models, day)

    return build_all


@pytest.fixture
def oracle(ingest: Ingest) -> Oracle:
    """Three days of traffic, ingested, and the oracle of them."""
    oracle = Oracle(SECRET, START_DATE)
    for day in WINDOW:
        lines = traffic(day, 120)
        ingest.ingest_lines(lines)
        oracle.take(lines, datetime.now(UTC))
    return oracle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of our own `dbt_like_sql`, to add rollups to."""
    own = Path(__file__).parents[2] / "dbt_like_sql"
    return shutil.copytree(own, tmp_path / "dbt_like_sql")
