"""Small cells of a day whose rollups are not all built: nobody may see what a later one hides."""

from __future__ import annotations

import pytest
from conftest import Build, Fill
from support.days import RETENTION_DAYS, days_ago, due_day

from signal_pipeline.postgres.database import Database
from signal_pipeline.privacy.retention import purge_due_days
from signal_pipeline.reports.of_rollups import rollup_report
from signal_pipeline.rollups.build import build_day
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
    for kind in ("app", "device"):
        whole = rollup_report(database, models, kind, DAY, DAY)
        early = rollup_report(database, models, kind, DAY, DAY, hide_small=True)
        assert (early.records, early.left_out) == ([], len(whole.records))
        # A team that has removed the others does not wait for them.
        own = models.only(APP_AND_DEVICE)
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
