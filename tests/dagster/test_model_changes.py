"""A model that is really edited, and one that is really added, beside purged days.

The tests show what becomes stale, and what is built and reported.
"""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from conftest import Fill
from support.dagster import Run, failure_text, purge, rows_of
from support.days import days_ago, due_day, yesterday

from signal_pipeline.dagster.backfill import plan_backfill
from signal_pipeline.days.freshness import day_statuses
from signal_pipeline.definitions import build_defs
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.reports.of_rollups import rollup_report
from signal_pipeline.rollups import models as model_files
from signal_pipeline.rollups.models import Models, load_models
from signal_pipeline.schema.migrate import migrate
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only
PROJECT = Path(__file__).parents[2] / "dbt_like_sql"
DAYS = [days_ago(2), yesterday()]
OLD = due_day()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the models, to edit."""
    return shutil.copytree(PROJECT, tmp_path / "dbt_like_sql")


@pytest.fixture
def history(fill: Fill, run: Run, database: Database, models: Models) -> None:
    """Two open days and a purged one, built by the unchanged models."""
    for day in (OLD, *DAYS):
        fill(day, 40)
        assert run("rollups_job", day).success
    purge(database, models, OLD)


def freshness(connection: Connection, models: Models, rollup: str) -> dict[date, str]:
    """The state of a rollup on each day."""
    checksums = models.checksums
    return {status.day: status.rollups[rollup] for status in day_statuses(connection, checksums)}


def tick(defs: dg.Definitions, instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    """The runs that the sensor asks for."""
    context = dg.build_sensor_context(
        instance=instance, definitions=defs, resources=defs.resources or {}
    )
    with context:
        result = defs.resolve_sensor_def("stale_rollups_sensor")(context)
    return list(result.run_requests or []) if isinstance(result, dg.SensorResult) else []


def build(defs: dg.Definitions, instance: dg.DagsterInstance, request: dg.RunRequest) -> None:
    """Run what the sensor asked for."""
    result = defs.resolve_job_def("rollups_job").execute_in_process(
        instance=instance,
        tags=dict(request.tags),
        asset_selection=list(request.asset_selection or []),
    )
    assert result.success


@pytest.mark.usefixtures("history")
def test_an_edited_model_is_rebuilt_where_it_can_be_and_marked_in_reports(
    folder: Path,
    environment: Settings,
    database: Database,
    connection: Connection,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = folder / "models" / "daily_device_activity.sql"
    file.write_text(file.read_text().replace("count(*) as events", "count(id) as events"))
    edited = load_models(folder)
    assert freshness(connection, edited, "daily_device_activity") == {
        OLD: "fresh",
        **dict.fromkeys(DAYS, "stale"),
    }
    assert set(freshness(connection, edited, "daily_os_activity").values()) == {"fresh"}
    before = rows_of(connection, "daily_device_activity", OLD)

    connection.execute("update signal.builds set built_at = built_at - interval '1 hour'")
    monkeypatch.setattr(model_files, "_own_folder", lambda: folder)
    defs = build_defs(environment)
    (request,) = tick(defs, instance)
    assert request.asset_selection == [dg.AssetKey("daily_device_activity")]
    build(defs, instance, request)
    assert set(freshness(connection, edited, "daily_device_activity").values()) == {"fresh"}
    assert rows_of(connection, "daily_device_activity", OLD) == before
    assert tick(defs, instance) == []

    marked = rollup_report(database, edited, "device", OLD, yesterday(), by="total")
    assert any(
        "the model of daily_device_activity changed inside this window" in note
        for note in marked.notes
    )
    assert any(str(DAYS[0]) in note for note in marked.notes)
    assert not any(
        "changed" in note for note in rollup_report(database, edited, "device", *DAYS).notes
    )


def test_a_model_edited_since_the_location_was_loaded_fails_the_run_and_builds_nothing(
    folder: Path,
    fill: Fill,
    environment: Settings,
    connection: Connection,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run loads the models afresh; if it built, the location would ask for the day for ever."""
    fill(yesterday())
    (request,) = tick(build_defs(environment), instance)
    file = folder / "models" / "daily_device_activity.sql"
    file.write_text(file.read_text().replace("count(*) as events", "count(id) as events"))
    monkeypatch.setattr(model_files, "_own_folder", lambda: folder)
    reloaded = build_defs(environment)
    result = reloaded.resolve_job_def("rollups_job").execute_in_process(
        instance=instance, tags=dict(request.tags), raise_on_error=False
    )
    assert (
        "the models have changed since this run was asked for. If the code location"
        in failure_text(result)
    )
    assert connection.execute("select count(*) from signal.builds").fetchone() == (0,)
    (again,) = tick(reloaded, instance)
    build(reloaded, instance, again)
    assert tick(reloaded, instance) == []


@pytest.mark.usefixtures("history")
def test_a_new_rollup_is_unavailable_on_purged_days_and_asks_for_the_others(
    folder: Path,
    environment: Settings,
    database: Database,
    connection: Connection,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = (folder / "models" / "daily_os_activity.sql").read_text()
    (folder / "models" / "daily_system_activity.sql").write_text(source)
    schema = (folder / "schema.yml").read_text()
    start = schema.index("  - name: daily_os_activity")
    end = schema.find("\n  - name: ", start + 1)
    entry = schema[start : end if end > 0 else len(schema)]
    (folder / "schema.yml").write_text(
        schema.rstrip()
        + "\n\n"
        + entry.replace("daily_os_activity", "daily_system_activity").rstrip()
        + "\n"
    )
    added = load_models(folder)
    migrate(database, environment, added)
    states = freshness(connection, added, "daily_system_activity")
    assert states == {OLD: "unavailable", **dict.fromkeys(DAYS, "missing")}

    connection.execute("update signal.builds set built_at = built_at - interval '1 hour'")
    monkeypatch.setattr(model_files, "_own_folder", lambda: folder)
    defs = build_defs(environment)
    (request,) = tick(defs, instance)
    assert request.asset_selection == [dg.AssetKey("daily_system_activity")]
    build(defs, instance, request)
    assert freshness(connection, added, "daily_system_activity") == {
        OLD: "unavailable",
        **dict.fromkeys(DAYS, "fresh"),
    }
    assert tick(defs, instance) == []
    assert plan_backfill(connection, added, OLD, OLD).refused == {OLD: "purged, unchanged"}
    report = rollup_report(database, added, "system", OLD, yesterday())
    assert (
        "1 day(s) were purged without a daily_system_activity, so they are unknown and not in"
        f" these numbers: {OLD}" in report.notes
    )
