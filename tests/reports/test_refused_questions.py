"""Questions that make no sense are refused, and names that events came with are not."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from conftest import Fill
from support.commands import error_of, run_command
from support.reports import SUNDAY, Models

from signal_pipeline.catalogue.load import PACKAGED_CATALOGUE
from signal_pipeline.days.calendar import WindowError
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.reports.of_raw_events import raw_report
from signal_pipeline.reports.of_rollups import rollup_report
from signal_pipeline.reports.report_errors import ReportError
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
