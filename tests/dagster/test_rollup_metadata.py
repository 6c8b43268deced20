"""What the UI shows about a rollup's day: events' texts as text, unknown days as unknown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import pytest
from conftest import Fill
from support.days import days_ago
from support.traffic import line

from signal_pipeline.dagster.assets.rollup_metadata import TREND_DAYS, DayNotes
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.models import Models
from signal_pipeline.rollups.postgres_engine import PostgresEngine

pytestmark = pytest.mark.embedded_only
DAY = days_ago(1)
ROUTE = "/[a](x)/<b>/**c**"


def test_routes_are_text_and_days_without_a_build_are_not_days_without_events(
    database: Database, connection: Connection, models: Models, ingest: Ingest, fill: Fill
) -> None:
    built, not_built, name = (
        DAY - timedelta(days=2),
        DAY - timedelta(days=1),
        "daily_route_activity",
    )
    fill(built)
    fill(not_built)
    ingest.ingest_lines([line(datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC), route=ROUTE)])
    build = [build_day(database, PostgresEngine(), models, day) for day in (built, DAY)][-1]
    shown = DayNotes(connection, models, [DAY]).of_rollup(build, name)
    assert f"|`{ROUTE}`|" in shown["preview"].value
    picture = unquote(shown["trend"].value)
    grey = picture.partition("fill='#8a8f9840' d='M0,98")[2].partition("V98'/>")[0]
    assert grey == "V16h8" * (TREND_DAYS - 3) + "V98h8V16h8V98h8"
    assert "grey: unknown" in picture
