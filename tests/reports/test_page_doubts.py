"""What a usage page says where a rollup is unknown or in doubt: never that nothing happened."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from conftest import Build, Fill
from support.days import days_ago
from support.page import Page
from support.traffic import line

from signal_pipeline.catalogue.load import load_catalogue
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Database
from signal_pipeline.reports.page.render import usage_page
from signal_pipeline.reports.page.split import Split
from signal_pipeline.reports.page.trust import Doubt, doubts
from signal_pipeline.reports.report_errors import QuestionError
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.models import Models
from signal_pipeline.rollups.postgres_engine import PostgresEngine

pytestmark = pytest.mark.embedded_only

DAY = days_ago(2)


def page_of(database: Database, models: Models) -> Page:
    return Page(usage_page(database, models, load_catalogue(), DAY, DAY, for_admins=True))


def test_a_figure_whose_rollup_was_not_built_is_unknown(
    fill: Fill, database: Database, models: Models
) -> None:
    fill(DAY, 300)
    build_day(database, PostgresEngine(), models.only(["daily_app_activity"]), DAY)
    page = page_of(database, models)
    assert page.csv_files["cms-features.csv"]
    assert "No event in this window" not in page.text
    assert "Unknown: no built day of the window has an event of this app." in page.text
    assert "Unknown: no built day of the window has an event of an entity." in page.text
    # Features are known, and are on the page.
    words = " ".join(re.sub(r"<[^>]*>", " ", page.html).split())
    assert f"{DAY} unknown every app browsers, devices, routes, systems" in words


def test_a_doubt_joins_only_the_apps_whose_figures_it_is_about() -> None:
    """With a doubt about one app's features and another's routes, each other figure is sound."""
    before = days_ago(3)
    of_apps = {
        (before, "cms"): ["stale"],
        (before, "crm"): ["fresh"],
        (DAY, "cms"): ["stale", "partial"],
        (DAY, "crm"): ["partial"],
    }
    of_routes = {
        (before, "cms"): ["fresh"],
        (before, "crm"): ["stale"],
        (DAY, "cms"): ["partial"],
        (DAY, "crm"): ["stale", "partial"],
    }
    days = [before, DAY]
    splits = {"app": Split(days, [], [], of_apps), "route": Split(days, [], [], of_routes)}
    assert doubts(splits) == [
        Doubt(before, DAY, "stale", "cms", "features"),
        Doubt(before, DAY, "stale", "crm", "routes"),
        Doubt(DAY, DAY, "partial", "every app", "every figure"),
    ]


def test_a_feature_of_a_stale_day_is_not_called_unused(
    fill: Fill, build: Build, ingest: Ingest, database: Database, models: Models
) -> None:
    """The events that made the day stale can be of that feature."""
    fill(DAY, 300)
    build(DAY)
    assert "Not used by anybody" in page_of(database, models).text
    noon = datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC)
    late = line(noon, appName="cms", eventType="editor_helpscout_overlay_opened")
    assert ingest.ingest_lines([late]).accepted == 1
    assert "Not used by anybody" not in page_of(database, models).text


@pytest.mark.parametrize("for_admins", [True, False])
def test_a_feature_whose_events_were_dropped_is_not_called_unused(
    fill: Fill, build: Build, ingest: Ingest, database: Database, models: Models, for_admins: bool
) -> None:
    """Such as by a mistake in the app's call. What bots send is no use."""
    fill(DAY, 300)
    wrong, bots = "editor_helpscout_overlay_opened", "editor_social_preview_overlay_opened"
    noon = datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC)
    lines = [
        line(noon, appName="cms", eventType=wrong, entityType="journey", entityId="7"),
        line(noon, appName="cms", eventType=bots, userAgent="curl/8.0"),
    ]
    assert ingest.ingest_lines(lines).dropped == {"invalid_entity": 1, "bot": 1}
    build(DAY)
    html = usage_page(
        database, models, load_catalogue(), DAY, DAY, app="cms", for_admins=for_admins
    )
    unused = Page(html).text.partition("Not used by anybody")[2].partition(".")[0]
    assert wrong not in unused and bots in unused


def test_without_a_rollup_of_entities_an_admins_page_has_no_figure_of_them(
    fill: Fill, build: Build, database: Database, models: Models
) -> None:
    fill(DAY, 300)
    build(DAY)
    others = models.only(name for name in models if name != "daily_entity_activity")
    assert "Where: entities" in page_of(database, models).text
    assert "Where: entities" not in page_of(database, others).text


def test_without_the_rollup_of_apps_there_is_no_page(database: Database, models: Models) -> None:
    others = models.only(name for name in models if name != "daily_app_activity")
    with pytest.raises(QuestionError, match="needs the rollup daily_app_activity"):
        page_of(database, others)


def test_the_tiles_say_that_people_of_a_day_without_a_number_can_be_more(
    fill: Fill, build: Build, database: Database, models: Models
) -> None:
    """The unknown day can be the busiest one, and above or below the median."""
    fill(DAY, 300)
    build(DAY)
    page = page_of(database, models)
    assert "people on the busiest day24" in page.text
    unknown = days_ago(3)
    html = usage_page(database, models, load_catalogue(), unknown, DAY, for_admins=True)
    text = Page(html).text
    assert "people on the median dayabout 24" in text
    assert "people on the busiest dayat least 24" in text
