"""Small cells of a day whose rollups are not all built: nobody may see what a later one hides."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import pytest
from conftest import Build, Fill
from support.days import RETENTION_DAYS, days_ago, due_day
from support.traffic import line

from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.privacy.retention import purge_due_days
from signal_pipeline.reports.of_rollups import rollup_report
from signal_pipeline.rollups.build import BuildRefusedError, build_day
from signal_pipeline.rollups.models import Models
from signal_pipeline.rollups.postgres_engine import PostgresEngine

pytestmark = pytest.mark.embedded_only
DAY = days_ago(2)
APP_AND_DEVICE = ["daily_app_activity", "daily_device_activity"]


def test_a_group_is_left_out_until_every_rollup_of_its_day_is_built(
    database: Database, models: Models, fill: Fill, build: Build
) -> None:
    """What the other rollups hold can close it, and nobody must see it before and not after."""
    fill(DAY, 300)
    build_day(database, PostgresEngine(), models.only(APP_AND_DEVICE), DAY)
    note = (
        "1 day(s) are built in part: rows of theirs are left out, however many people they count,"
        f" until every rollup is built from the same events: {DAY}"
    )
    for kind in ("app", "device"):
        whole = rollup_report(database, models, kind, DAY, DAY)
        early = rollup_report(database, models, kind, DAY, DAY, hide_small=True)
        assert (early.records, early.left_out) == ([], len(whole.records))
        assert (whole.notes, early.notes) == ([], [note])
        # A team that has removed the others does not wait for them.
        own = models.only(APP_AND_DEVICE)
        assert rollup_report(database, own, kind, DAY, DAY, hide_small=True).records
    build(DAY)
    built = rollup_report(database, models, "app", DAY, DAY, hide_small=True)
    assert built.records and not built.notes


def test_a_day_whose_rollups_know_different_events_says_so(
    database: Database,
    models: Models,
    connection: Connection,
    fill: Fill,
    build: Build,
    ingest: Ingest,
) -> None:
    """Once raw events are lost, the older rollups cannot be built again, and the groups wait."""
    fill(DAY, 300)
    build(DAY)
    noon = datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC)
    new = "editor_helpscout_overlay_opened"
    ingest.ingest_lines([line(noon, eventType=new, ip=f"10.9.0.{n}") for n in range(20)])
    ask = partial(rollup_report, database, models, "app", DAY, DAY, hide_small=True)
    assert not [note for note in ask().notes if "built in part" in note]  # All are equally old.
    build_day(database, PostgresEngine(), models.only(APP_AND_DEVICE), DAY)
    connection.execute("delete from signal.events where app_name = 'cms'")
    with pytest.raises(BuildRefusedError):
        build(DAY)
    assert [note for note in ask().notes if "1 day(s) are built in part" in note]


def test_a_group_is_left_out_while_the_rollups_of_its_day_hold_different_events(
    database: Database, models: Models, fill: Fill, build: Build
) -> None:
    """One rollup failed, and keeps older rows; its newer ones can have a small cell."""
    fill(DAY, 300)
    build(DAY)
    shown = rollup_report(database, models, "app", DAY, DAY, hide_small=True).records
    assert shown
    fill(DAY, 5, seed=2)
    build_day(database, PostgresEngine(), models.only(APP_AND_DEVICE), DAY)
    for kind in ("app", "device", "os"):
        whole = rollup_report(database, models, kind, DAY, DAY)
        early = rollup_report(database, models, kind, DAY, DAY, hide_small=True)
        assert (early.records, early.left_out) == ([], len(whole.records))
        own = models.only(APP_AND_DEVICE)
        if kind != "os":
            assert rollup_report(database, own, kind, DAY, DAY, hide_small=True).records
    build(DAY)
    assert rollup_report(database, models, "app", DAY, DAY, hide_small=True).records


def test_a_purged_day_does_not_wait_for_a_rollup_that_was_added_later(
    database: Database, models: Models, fill: Fill
) -> None:
    """It will never be built, so nothing of it can be seen."""
    day, own = due_day(), models.only(APP_AND_DEVICE)
    fill(day, 300)
    build_day(database, PostgresEngine(), own, day)
    assert not rollup_report(database, models, "device", day, day, hide_small=True).records
    assert purge_due_days(database, own, RETENTION_DAYS).purged == [day]
    later, before = (
        rollup_report(database, each, "device", day, day, hide_small=True) for each in (models, own)
    )
    assert later.records == before.records != []


def test_a_day_that_is_purged_with_rollups_of_different_events_is_left_out_for_good(
    database: Database, models: Models, fill: Fill, build: Build
) -> None:
    day, own = due_day(), models.only(APP_AND_DEVICE)
    fill(day, 300)
    build(day)
    fill(day, 5, seed=2)
    build_day(database, PostgresEngine(), own, day)
    assert purge_due_days(database, own, RETENTION_DAYS).purged == [day]
    later = rollup_report(database, models, "app", day, day, hide_small=True)
    assert later.records == []
    assert (
        "1 day(s) were built from different events before their purge: their rows are left out for"
        f" good: {day}"
    ) in later.notes
