"""Rollups that a team adds: a report of one is right, and takes nothing from the others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Fill
from support.days import due_day
from support.own_rollups import add_rollup
from support.reports import SUNDAY, frame
from support.traffic import line

from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.privacy.retention import purge_due_days
from signal_pipeline.reports.grouped_report import grouped_report
from signal_pipeline.reports.of_raw_events import raw_report
from signal_pipeline.reports.of_rollups import rollup_report
from signal_pipeline.reports.report_errors import QuestionError
from signal_pipeline.reports.small_cells import can_hide_small
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.models import load_models
from signal_pipeline.rollups.postgres_engine import PostgresEngine
from signal_pipeline.schema.rollup_tables import migrate_rollups

pytestmark = pytest.mark.embedded_only


@pytest.mark.parametrize("by", ["day", "week", "total"])
def test_a_column_outside_the_grain_splits_no_sum(
    database: Database, connection: Connection, folder: Path, fill: Fill, by: Any
) -> None:
    saturday = SUNDAY - timedelta(days=1)
    columns = {"first_route": "min(route)"}
    added = add_rollup(
        folder, "daily_gadget_activity", {"device_type": "device_type"}, extra=columns
    )
    migrate_rollups(connection, added)
    for day in (saturday, SUNDAY):
        fill(day)
        build_day(database, PostgresEngine(), added, day)
    own, same = (
        frame(rollup_report(database, added, kind, saturday, SUNDAY, by=by))
        for kind in ("gadget", "device")
    )
    assert list(own.columns) == list(same.columns)
    assert sorted(map(tuple, own.to_numpy())) == sorted(map(tuple, same.to_numpy()))


@pytest.mark.parametrize("column", ["state", "week", "total", "summed_daily_users"])
@pytest.mark.parametrize("by", ["day", "week", "total"])
def test_a_column_that_a_report_has_itself_is_not_written_over(
    database: Database, connection: Connection, folder: Path, fill: Fill, column: str, by: Any
) -> None:
    added = add_rollup(folder, "daily_gadget_activity", {column: "device_type"})
    migrate_rollups(connection, added)
    fill(SUNDAY)
    build_day(database, PostgresEngine(), added, SUNDAY)
    with pytest.raises(QuestionError, match=f"splits by a column '{column}'"):
        rollup_report(database, added, "gadget", SUNDAY, SUNDAY, by=by)


OF_CMS = "app_name = 'cms'"


@pytest.mark.parametrize(
    ("name", "dimensions", "where"),
    [
        ("daily_cms_activity", {}, OF_CMS),
        ("daily_path_activity", {"route": "coalesce(route, '(none)')"}, OF_CMS),
        ("daily_path_activity", {"route": "coalesce(route, '(none)')"}, None),
        ("daily_route_activity", {"route": "coalesce(route, '(none)')"}, OF_CMS),
        ("daily_copy_activity", {}, None),
    ],
)
def test_small_cells_of_a_rollup_that_the_rule_does_not_know_are_for_admins(
    database: Database, folder: Path, name: str, dimensions: dict[str, str], where: str | None
) -> None:
    added = add_rollup(folder, name, dimensions, where=where)
    assert not can_hide_small(added, name)
    is_own = name in load_models()
    for kind in (name.removeprefix("daily_").removesuffix("_activity"), "app"):
        if kind == "app" and not is_own:  # The rule has all its parts.
            assert rollup_report(database, added, kind, SUNDAY, SUNDAY, hide_small=True)
            continue
        with pytest.raises(QuestionError, match="cannot be left out"):
            rollup_report(database, added, kind, SUNDAY, SUNDAY, hide_small=True)


@pytest.mark.parametrize("where", [None, "route = '/a'"])
def test_a_second_rollup_by_route_opens_no_group(
    database: Database,
    connection: Connection,
    folder: Path,
    ingest: Ingest,
    where: str | None,
) -> None:
    """Seven people on four routes: too few, since every one of the cells could be small."""
    noon = datetime(SUNDAY.year, SUNDAY.month, SUNDAY.day, 12, tzinfo=UTC)
    routes = ["/a", "/a", "/a", "/a", "/b", "/c", "/d"]
    ingest.ingest_lines(
        [line(noon, route=route, ip=f"10.0.0.{n}") for n, route in enumerate(routes)]
    )
    by_route = {"route": "coalesce(route, '(none)')"}
    added = add_rollup(folder, "daily_path_activity", by_route, where=where)
    migrate_rollups(connection, added)
    build_day(database, PostgresEngine(), added, SUNDAY)
    for models in (load_models(), added):
        report = rollup_report(database, models, "app", SUNDAY, SUNDAY, hide_small=True)
        assert (report.records, report.left_out) == ([], 2)


@pytest.mark.parametrize(
    ("keys", "note"),
    [
        (["app"], None),
        (["entity-type"], "events without an entity are not in these numbers"),
        (["browser", "os"], "only events where app_name = 'cms' are in these numbers"),
    ],
)
def test_beyond_the_retention_a_rollup_of_all_events_comes_first(
    database: Database,
    connection: Connection,
    folder: Path,
    fill: Fill,
    keys: list[str],
    note: str | None,
) -> None:
    due = due_day()
    add_rollup(folder, "daily_cms_activity", {}, where=OF_CMS)
    dimensions = {"browser_family": "browser_family", "os_family": "os_family"}
    models = add_rollup(folder, "daily_machine_activity", dimensions, where=OF_CMS)
    models = models.only(reversed([*models]))  # Its place in schema.yml decides nothing.
    migrate_rollups(connection, models)
    fill(due, 60)
    build_day(database, PostgresEngine(), models, due)
    before = raw_report(database, keys, {}, due, due).records
    assert purge_due_days(database, models, 180).purged == [due]
    report = grouped_report(database, models, keys, {}, due, due)
    assert [each for each in report.notes if "are not in" in each or "are in" in each] == (
        [note] if note else []
    )
    if note is None:
        assert [row["events"] for row in report.records] == [row["events"] for row in before]
