"""Windows with purged days: a rollup answers what it can, and the rest is refused."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from conftest import Fill
from support.commands import error_of, run_command
from support.days import due_day, today
from support.reports import BuildDays, Models, frame, states

from signal_pipeline.postgres.database import Database
from signal_pipeline.privacy.retention import purge_due_days, purge_incomplete
from signal_pipeline.reports.grouped_report import grouped_report
from signal_pipeline.reports.of_raw_events import raw_report
from signal_pipeline.reports.of_rollups import rollup_report
from signal_pipeline.reports.report_errors import ReportError
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only


def test_purged_days_stay_in_rollups_and_are_refused_from_raw(
    database: Database, models: Models, fill: Fill, build_days: BuildDays
) -> None:
    due = due_day()
    fill(due)
    build_days(due)
    fill(due - timedelta(days=1))
    assert purge_due_days(database, models, 180).purged == [due]
    before = due - timedelta(days=1)
    purge_incomplete(database, models, before, "never built", 180)
    assert states(database, models, due, due) == {str(due): "purged"}
    assert rollup_report(database, models, "app", before, due).notes == [
        "1 day(s) were purged without a daily_app_activity, so they are unknown and not in these"
        f" numbers: {before}"
    ]
    with pytest.raises(ReportError, match=r"1 day\(s\).*purged.*too low"):
        raw_report(database, ["route", "app"], {}, due, today())
    with pytest.raises(ReportError, match=r"2 day\(s\).*too low"):
        grouped_report(database, models, ["route", "device"], {}, due - timedelta(days=1), today())
    assert (
        len(frame(raw_report(database, ["route", "device"], {}, due + timedelta(days=1), today())))
        == 0
    )


@pytest.mark.parametrize(
    ("keys", "where", "has_users"),
    [
        (["app", "route"], {}, True),
        (["app", "day", "event-type"], {}, True),
        (["device"], {"app": "cms"}, True),
        (["entity-type", "entity", "app"], {}, True),
        (["route"], {}, False),
        (["app"], {"browser": "Chrome"}, True),
        (["day"], {"event-type": "journey_create_clicked"}, False),
    ],
)
def test_beyond_the_retention_a_rollup_answers_as_raw_events_did(
    database: Database,
    models: Models,
    fill: Fill,
    build_days: BuildDays,
    keys: list[str],
    where: dict[str, str],
    has_users: bool,
) -> None:
    due = due_day()
    fill(due, 60)
    build_days(due)
    before = frame(raw_report(database, keys, where, due, due))
    assert purge_due_days(database, models, 180).purged == [due]
    report = grouped_report(database, models, keys, where, due, due)
    assert set(frame(report)["state"]) == {"purged"}
    if "entity" in keys:
        before = before[before["entity_id"] != "(none)"]
        assert "events without an entity are not in these numbers" in report.notes
    shown = [
        column for column in before.columns if column in frame(report).columns and column != "state"
    ]
    assert ("users" in shown, "sessions" in shown) == (has_users, has_users)
    assert sorted(map(tuple, frame(report)[shown].to_numpy())) == sorted(
        map(tuple, before[shown].to_numpy())
    )


def test_a_rollup_is_not_asked_for_what_it_leaves_out(
    database: Database, models: Models, fill: Fill, build_days: BuildDays
) -> None:
    due = due_day()
    fill(due)
    build_days(due)
    assert purge_due_days(database, models, 180).purged == [due]
    with pytest.raises(ReportError, match="too low"):
        grouped_report(database, models, ["app"], {"entity": "(none)"}, due, due)


def test_without_small_cells_no_rollup_is_looked_for_and_one_is_suggested(
    environment: Settings,
    database: Database,
    models: Models,
    fill: Fill,
    build_days: BuildDays,
    tmp_path: Path,
) -> None:
    due = due_day()
    fill(due)
    build_days(due)
    assert purge_due_days(database, models, 180).purged == [due]
    window = ("--from", due, "--to", today(), "--hide-small")
    done = run_command("report", "--group-by", "app", *window, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    complaint = error_of(done.stderr)
    assert f"1 day(s) in this window are purged: {due}" in complaint
    assert "ask a rollup instead, such as `report app`" in complaint
    assert "no rollup has" not in complaint
    with pytest.raises(ReportError, match="no rollup has these dimensions together"):
        grouped_report(database, models, ["route", "device"], {}, due, due)
