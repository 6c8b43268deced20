"""Days before the installation: nobody recorded them, so nothing may say that they are zero."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import dagster as dg
import pytest
from conftest import Fill
from support.dagster import Run, failure_text, materialized, metadata_of
from support.days import days_ago, today, yesterday

from signal_pipeline.dagster.backfill import plan_backfill
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.rollups.build import BuildRefusedError, build_day
from signal_pipeline.rollups.engine import open_engine
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only
REPLAYED = 2  # Days ago: the only day before the installation that has events.


@pytest.fixture
def known_days(fill: Fill, connection: Connection) -> Callable[[], list[date]]:
    """Replays one day into a database that was installed today; gives the days with a row."""
    fill(days_ago(REPLAYED), 20)

    def ask() -> list[date]:
        rows = connection.execute("select day from signal.days order by day").fetchall()
        return [day for (day,) in rows]

    return ask


def test_a_build_and_a_backfill_refuse_a_day_that_nobody_recorded_or_replayed(
    known_days: Callable[[], list[date]],
    database: Database,
    connection: Connection,
    models: Models,
    settings: Settings,
) -> None:
    why = (
        f"before Signal was installed on {today()}, and no event of it was replayed: it stays"
        " unknown"
    )
    plan = plan_backfill(connection, models, days_ago(3), today())
    assert plan.days == [days_ago(REPLAYED), today()]
    assert plan.refused == {days_ago(3): why, yesterday(): why}
    with pytest.raises(BuildRefusedError, match="before Signal was installed"):
        build_day(database, open_engine(settings, database), models, yesterday())
    assert known_days() == [days_ago(REPLAYED)]


def test_a_backfill_from_the_ui_builds_the_replayed_day_and_names_the_others(
    known_days: Callable[[], list[date]], run: Run, instance: dg.DagsterInstance
) -> None:
    result = run("rollups_job", days_ago(3), yesterday())
    assert "2 day(s) not built, before Signal was installed" in failure_text(result)
    assert materialized(instance, result)["daily_app_activity"] == {str(days_ago(REPLAYED))}
    assert known_days() == [days_ago(REPLAYED)]


@pytest.mark.usefixtures("known_days")
def test_a_materialization_of_raw_events_marks_no_day_that_nobody_recorded(
    run: Run, instance: dg.DagsterInstance
) -> None:
    refused = run("raw_events_job", days_ago(3), yesterday())
    assert "2 day(s) are before Signal was installed" in failure_text(refused)
    assert materialized(instance, refused) == {"raw_events": {str(days_ago(REPLAYED))}}
    shown = metadata_of(instance, "raw_events", days_ago(REPLAYED))
    assert shown["dagster/partition_row_count"] == 20
