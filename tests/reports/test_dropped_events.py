"""An answer without rows says so if the events that it asks for came, but were dropped."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from conftest import Build, Fill
from support.days import RETENTION_DAYS, days_ago
from support.traffic import line

from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Database
from signal_pipeline.privacy.retention import purge_due_days
from signal_pipeline.reports.grouped_report import grouped_report
from signal_pipeline.reports.of_raw_events import raw_report
from signal_pipeline.reports.of_rollups import rollup_report
from signal_pipeline.rollups.models import Models

pytestmark = pytest.mark.embedded_only

DAY, OTHER = days_ago(3), days_ago(2)
NOON = datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC)
WRONG, BOTS = "editor_helpscout_overlay_opened", "editor_social_preview_overlay_opened"
Notes = Callable[..., list[str]]


@pytest.fixture(params=[False, True], ids=["admin", "analyst"])
def both_notes(request: pytest.FixtureRequest, database: Database, models: Models) -> Notes:
    """The notes of an empty answer, which are the same from a rollup and from raw events."""

    def notes(event_type: str, app: str = "cms") -> list[str]:
        hide = request.param
        of_rollup = rollup_report(
            database, models, "app", DAY, OTHER, app=app, event_type=event_type, hide_small=hide
        )
        where = {"app": app} | ({} if event_type == "(all)" else {"event-type": event_type})
        of_raw = raw_report(database, ["day"], where, DAY, OTHER, hide_small=hide)
        assert of_rollup.notes == of_raw.notes
        return of_raw.notes

    return notes


def test_events_that_were_all_dropped_are_not_events_that_nobody_sent(
    fill: Fill, build: Build, ingest: Ingest, both_notes: Notes
) -> None:
    wrong = {"eventType": WRONG, "entityType": "journey", "entityId": "7"}
    lines = [
        line(NOON, appName="cms", **wrong),
        line(NOON, appName="videos-admin", **wrong),
        line(NOON, appName="videos-admin", eventType=WRONG),
        line(NOON, appName="cms", eventType=BOTS, userAgent="curl/8.0"),
    ]
    assert ingest.ingest_lines(lines).accepted == 1
    build(DAY)
    build(OTHER)
    note = (
        "such events came on these days, but all of them were dropped, so that none is in the"
        " numbers: signal_reporting.drops says why"
    )
    assert both_notes(WRONG) == [note]
    assert both_notes("(all)") == [note]
    assert both_notes(BOTS) == []
    assert both_notes("journey_create_clicked") == []
    assert both_notes(WRONG, "videos-admin") == []


def test_beyond_the_retention_it_is_said_too(
    fill: Fill, build: Build, ingest: Ingest, database: Database, models: Models
) -> None:
    day = days_ago(RETENTION_DAYS)
    fill(day)
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    wrong = line(noon, eventType=WRONG, entityType="journey", entityId="7")
    assert ingest.ingest_lines([wrong]).dropped == {"invalid_entity": 1}
    build(day)
    assert purge_due_days(database, models, RETENTION_DAYS - 1).purged == [day]
    for where, says in (
        ({"event-type": WRONG}, True),
        ({"event-type": WRONG, "route": "/"}, False),
    ):
        report = grouped_report(database, models, ["app"], where, day, day)
        assert report.records == []
        assert any("all of them were dropped" in note for note in report.notes) == says
