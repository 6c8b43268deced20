"""What the UI shows about a rollup's day: events' texts as text, unknown days as unknown."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote
from uuid import UUID

import pytest
from conftest import Fill
from support.days import days_ago
from support.own_rollups import add_rollup
from support.traffic import line

from signal_pipeline.dagster.assets.rollup_metadata import TREND_DAYS, DayNotes
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.models import Models
from signal_pipeline.rollups.postgres_engine import PostgresEngine
from signal_pipeline.schema.rollup_tables import migrate_rollups

pytestmark = pytest.mark.embedded_only
DAY = days_ago(1)
LOG = logging.getLogger(__name__)
ROUTE = "/[a](x)/<b>/**c**"


def clicks(route: str, people: int, **changes: object) -> list[bytes]:
    """One click each of so many people of the day."""
    at = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
    return [line(at, route=route, **{"ip": f"10.0.1.{n}", **changes}) for n in range(people)]


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
    ingest.ingest_lines(clicks(ROUTE, 12))
    build = [build_day(database, PostgresEngine(), models, day) for day in (built, DAY)][-1]
    shown = DayNotes(connection, models, LOG).of_rollup(build, name, pictures=True)
    assert f"|`{ROUTE}`|" in shown["preview"].value
    picture = unquote(shown["trend"].value)
    grey = picture.partition("fill='#8a8f9840' d='M0,98")[2].partition("V98'/>")[0]
    assert grey == "V16h8" * (TREND_DAYS - 3) + "V98h8V16h8V98h8"
    assert "grey: unknown" in picture


def test_the_preview_leaves_out_what_reports_leave_out_and_says_how_many_rows(
    database: Database, connection: Connection, models: Models, ingest: Ingest
) -> None:
    """Dagster's storage keeps it after the raw events are purged."""
    ingest.ingest_lines([*clicks("/a", 10), *clicks("/b", 10), *clicks("/lonely", 1)])
    entity = {"entityType": "journey", "entityId": str(UUID(int=1))}
    ingest.ingest_lines(clicks("/a", 10, **entity))
    build = build_day(database, PostgresEngine(), models, DAY)
    notes = DayNotes(connection, models, LOG)
    routes = notes.of_rollup(build, "daily_route_activity", pictures=True)["preview"].value
    assert "/a" in routes
    assert "/b" not in routes and "/lonely" not in routes  # From /b one could work out /lonely.
    assert "4 row(s) are left out" in routes
    systems = notes.of_rollup(build, "daily_os_activity", pictures=True)["preview"].value
    assert "left out" not in systems
    entities = notes.of_rollup(build, "daily_entity_activity", pictures=True)["preview"].value
    assert entities == "no rows\n\n2 row(s) are left out: only admins get rows of this rollup."


def test_the_preview_shows_no_row_or_column_of_which_the_rule_knows_nothing(
    database: Database, connection: Connection, ingest: Ingest, tmp_path: Path
) -> None:
    own = Path(__file__).parents[2] / "dbt_like_sql"
    folder = shutil.copytree(own, tmp_path / "dbt_like_sql")
    system = {"os_family": "os_family"}
    add_rollup(folder, "daily_os_activity", system, extra={"first_route": "min(route)"})
    models = add_rollup(folder, "daily_lonely_activity", {}, where="route = '/lonely'")
    migrate_rollups(connection, models)
    ingest.ingest_lines([*clicks("/a", 10), *clicks("/lonely", 1)])
    build = build_day(database, PostgresEngine(), models, DAY)
    notes = DayNotes(connection, models, LOG)
    systems = notes.of_rollup(build, "daily_os_activity", pictures=True)["preview"].value
    assert "macOS" in systems and "first_route" not in systems
    lonely = notes.of_rollup(build, "daily_lonely_activity", pictures=True)["preview"].value
    assert lonely.startswith("no rows\n\n2 row(s) are left out")


def test_users_are_judged_by_what_the_build_could_read(
    database: Database, connection: Connection, models: Models, ingest: Ingest, fill: Fill
) -> None:
    notes = DayNotes(connection, models, LOG)  # The day has no event yet.
    fill(DAY)
    exact = build_day(database, PostgresEngine(), models, DAY)
    assert notes.of_rollup(exact, "daily_app_activity", pictures=True)["users_are"] == "exact"
    ingest.ingest_lines(clicks("/", 5, ip=None))
    degraded = build_day(database, PostgresEngine(), models, DAY)
    assert notes.of_rollup(degraded, "daily_app_activity", pictures=True)["users_are"] == "degraded"


def test_users_of_an_incomplete_or_unknown_day_are_not_called_exact(
    database: Database, connection: Connection, models: Models, fill: Fill
) -> None:
    fill(DAY)
    build = build_day(database, PostgresEngine(), models, DAY)
    notes = DayNotes(connection, models, LOG)
    for changed, words in (
        (replace(build, state="incomplete"), "incomplete"),
        (replace(build, day=DAY - timedelta(days=1)), "unknown"),
    ):
        assert notes.of_rollup(changed, "daily_app_activity", pictures=True)["users_are"] == words
