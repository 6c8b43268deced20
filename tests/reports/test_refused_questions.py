"""Questions that make no sense are refused, and names that events came with are not."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from conftest import Build, Fill
from support.commands import error_of, run_command
from support.days import RETENTION_DAYS, due_day
from support.reports import SUNDAY, Models

from signal_pipeline.catalogue.load import PACKAGED_CATALOGUE
from signal_pipeline.days.calendar import WindowError
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.privacy.retention import purge_due_days
from signal_pipeline.reports.grouped_report import grouped_report
from signal_pipeline.reports.of_raw_events import raw_report
from signal_pipeline.reports.of_rollups import rollup_report
from signal_pipeline.reports.report_errors import QuestionError, ReportError
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only


@pytest.mark.parametrize(
    "where",
    [
        "app=cmss",
        "event-type=(all)",
        "entity-type=film",
        "device=Mobile",
        "browser=chrome",
        "os=macos",
        "day=soon",
    ],
)
def test_a_filter_that_no_event_can_have_is_refused(
    environment: Settings, tmp_path: Path, where: str
) -> None:
    window = ("--from", SUNDAY, "--to", SUNDAY)
    done = run_command("report", "--group-by", "app", "--where", where, *window, cwd=tmp_path)
    key, _, value = where.partition("=")
    assert done.returncode == 2
    assert f"no {key} '{value}'" in error_of(done.stderr)


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("route=journeys", "the route does not start with '/'"),
        ("route=/journeys/42/edit?tab=1", "stored as templates, this one as '/journeys/[id]/edit'"),
        ("route=", "the route does not start with '/'"),
        ("entity=42", "the formats of ids are uuid"),
        ("entity=", "the formats of ids are uuid"),
        (f"entity={uuid.UUID(int=0)}", "the formats of ids are uuid"),
    ],
)
def test_a_route_or_id_that_no_event_can_have_is_refused(
    environment: Settings, tmp_path: Path, where: str, says: str
) -> None:
    """A page's address, copied from a browser, would read as a page that nobody visits."""
    window = ("--from", SUNDAY, "--to", SUNDAY)
    done = run_command("report", "--group-by", "app", "--where", where, *window, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in error_of(done.stderr)
    assert "42" not in done.stderr


def test_routes_and_ids_that_events_can_have_or_had_are_asked_for(
    environment: Settings, connection: Connection, tmp_path: Path
) -> None:
    """A stricter rule does not take away what was stored under the rule before it."""
    ask = partial(
        run_command, "report", "--group-by", "app", "--from", SUNDAY, "--to", SUNDAY, cwd=tmp_path
    )
    journey = str(uuid.UUID(int=7)).upper()
    for where in ("route=/a/[id]", "route=(none)", "entity=(none)", f"entity={journey}"):
        assert ask("--where", where).returncode == 0, where
    for where in ("route=/a/42", "entity=42"):
        assert ask("--where", where).returncode == 2
    row = "values (%s, 'cms', 'journey_create_clicked'"
    connection.execute("select signal.ensure_day(%s)", [SUNDAY])
    connection.execute(
        f"insert into signal.daily_route_activity {row}, '/a/42', 1, 1, 1)", [SUNDAY]
    )
    connection.execute(
        f"insert into signal.daily_entity_activity {row}, 'journey', '42', 1, 1, 1)", [SUNDAY]
    )
    for where in ("route=/a/42", "entity=42"):
        assert ask("--where", where).returncode == 0, where


def test_a_name_that_the_catalogue_has_lost_can_still_be_asked_for(
    environment: Settings, connection: Connection, fill: Fill, tmp_path: Path
) -> None:
    fill(SUNDAY)
    catalogue = tmp_path / "catalogue.yaml"
    catalogue.write_text(PACKAGED_CATALOGUE.read_text().replace("  cms:", "  cms-new:"))
    ask = partial(
        run_command, "report", "--group-by", "app", cwd=tmp_path, SIGNAL_CATALOGUE=str(catalogue)
    )
    window = ("--from", SUNDAY, "--to", SUNDAY, "--format", "json", "--app")
    (row,) = json.loads(ask(*window, "cms").stdout)
    stored = connection.execute(
        "select count(*) from signal.events where app_name = 'cms'"
    ).fetchone()
    assert (row["events"],) == stored
    assert json.loads(ask(*window, "cms-new").stdout) == []


def test_the_marker_of_a_total_is_no_filter_of_a_count(
    database: Database, models: Models, fill: Fill, build: Build
) -> None:
    """It would be an empty answer from raw events, and the total once these are purged."""
    due = due_day()
    fill(due)
    build(due)
    ask = partial(grouped_report, database, models, ["app"], {"eventType": "(all)"}, due, due)
    with pytest.raises(QuestionError, match="leave this filter out"):
        ask()
    assert purge_due_days(database, models, RETENTION_DAYS).purged == [due]
    with pytest.raises(QuestionError, match="leave this filter out"):
        ask()
    total = rollup_report(database, models, "app", due, due, event_type="(all)")
    assert sum(row["events"] for row in total.records) == 25


@pytest.mark.parametrize(
    ("keys", "where", "text"),
    [
        (["moon"], {}, "unknown key 'moon'"),
        (["app"], {"moon": "x"}, "unknown key 'moon'"),
        ([], {}, "at least one key"),
    ],
)
def test_an_unknown_key_is_refused(
    database: Database, keys: list[str], where: dict[str, str], text: str
) -> None:
    with pytest.raises(ReportError, match=text):
        raw_report(database, keys, where, SUNDAY, SUNDAY)


def test_a_window_that_ends_before_it_begins_is_refused(database: Database, models: Models) -> None:
    with pytest.raises(WindowError, match="is after"):
        rollup_report(database, models, "app", SUNDAY, SUNDAY - timedelta(days=1))
    with pytest.raises(WindowError, match="is after"):
        raw_report(database, ["app"], {}, SUNDAY, SUNDAY - timedelta(days=1))
    with pytest.raises(ReportError, match="no rollup"):
        rollup_report(database, models, "moon", SUNDAY, SUNDAY)
