"""The weekly page: written from the rollups of its week, again at will, and asked for on Mondays."""

from __future__ import annotations

import stat
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from conftest import Build, Fill
from support.days import today
from support.page import Page

from signal_pipeline.postgres.database import Connection
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only


def last_monday() -> date:
    """The first day of the newest week that is over."""
    day = today()
    return day - timedelta(days=day.weekday() + 7)


def test_the_page_of_a_week(
    environment: Settings,
    defs: dg.Definitions,
    fill: Fill,
    build: Build,
    connection: Connection,
) -> None:
    monday = last_monday()
    sunday = monday + timedelta(days=6)
    for day in (monday, sunday):
        fill(day, 300)
        build(day)
    fill(sunday + timedelta(days=1), 300)
    build(sunday + timedelta(days=1))
    job = defs.resolve_job_def("usage_report_job")
    with dg.DagsterInstance.ephemeral() as instance:
        texts = []
        for _ in range(2):
            result = job.execute_in_process(instance=instance, partition_key=str(monday))
            (event,) = result.asset_materializations_for_node("usage_report")
            path = Path(str(event.metadata["page"].value))
            texts.append(Page(path.read_text()))
    assert event.partition == str(monday)
    assert path.parent == Path(environment.home).resolve() / "reports"
    assert [each.name for each in path.parent.iterdir()] == [f"usage_{monday}_to_{sunday}.html"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert event.metadata["link"].value == path.as_uri()
    assert texts[0].csv_files == texts[1].csv_files
    days = [row["activity_date"] for row in texts[0].csv_files["cms-people-a-day.csv"]]
    assert len(days) == 28 and days[-1] == str(sunday)
    expected = connection.execute(
        "select sum(events)::text from signal.daily_app_activity where app_name = 'cms'"
        " and event_type = '(all)' and activity_date between %s and %s",
        [monday, sunday],
    ).fetchone()
    summary = str(event.metadata["summary"].value)
    shown = sum(int(row["events"]) for row in texts[0].csv_files["cms-features.csv"])
    # Five days of the week have no event and no build: there can be more.
    assert expected == (str(shown),) and f"|cms|at least {shown}|about 24|at least 24|" in summary
    assert any("never built" in note for note in event.metadata["notes"].value)


@pytest.mark.parametrize(
    ("change", "median", "most"),
    [
        ("", "24", "24"),
        (
            "insert into signal.day_keys (day, key_id, hash_rules) select day, '\\x00', hash_rules"
            " from signal.day_keys order by day limit 1",
            "at most 24",
            "at most 24",
        ),
        ("update signal.days set version = version + 1", "about 24", "about 24"),
    ],
    ids=["sound", "over-counted", "stale"],
)
def test_the_summary_marks_people_of_days_with_a_label(
    environment: Settings,
    defs: dg.Definitions,
    fill: Fill,
    build: Build,
    connection: Connection,
    change: str,
    median: str,
    most: str,
) -> None:
    for number in range(7):
        fill(last_monday() + timedelta(days=number), 300)
        build(last_monday() + timedelta(days=number))
    if change:
        connection.execute(change)  # type: ignore[arg-type]
    job = defs.resolve_job_def("usage_report_job")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, partition_key=str(last_monday()))
    (event,) = result.asset_materializations_for_node("usage_report")
    (row,) = [line for line in str(event.metadata["summary"].value).splitlines() if "|cms|" in line]
    assert row.split("|")[3:5] == [median, most]


def test_a_page_that_cannot_be_written_says_why_even_without_a_number_of_the_system(
    environment: Settings, defs: dg.Definitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep_nothing(*arguments: object) -> Path:
        raise OSError("no number")

    monkeypatch.setattr("signal_pipeline.reports.page.files.keep_page", keep_nothing)
    job = defs.resolve_job_def("usage_report_job")
    with (
        dg.DagsterInstance.ephemeral() as instance,
        pytest.raises(dg.Failure, match="the page cannot be written: OSError"),
    ):
        job.execute_in_process(instance=instance, partition_key=str(last_monday()))


@pytest.mark.parametrize(
    ("at", "week"),
    [
        (datetime(2026, 11, 23, 2, 30, tzinfo=UTC), "2026-11-16"),
        (datetime(2027, 1, 4, 2, 30, tzinfo=UTC), "2026-12-28"),
        (datetime(2028, 3, 6, 2, 30, tzinfo=UTC), "2028-02-28"),
    ],
)
def test_on_monday_the_schedule_asks_for_the_week_that_has_ended(
    defs: dg.Definitions, at: datetime, week: str
) -> None:
    schedule = defs.resolve_schedule_def("usage_report_schedule")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("30 2 * * 1", "UTC")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    request = schedule(dg.build_schedule_context(scheduled_execution_time=at))
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == week
    early = schedule(
        dg.build_schedule_context(scheduled_execution_time=datetime(2001, 1, 1, 2, 30, tzinfo=UTC))
    )
    assert isinstance(early, dg.SkipReason)


def test_a_week_is_a_partition_once_it_is_over(defs: dg.Definitions) -> None:
    asset = defs.resolve_assets_def("usage_report")
    assert asset.partitions_def is not None
    keys = asset.partitions_def.get_partition_keys()
    assert keys[-1] == str(last_monday())
    assert {date.fromisoformat(key).isoweekday() for key in keys} == {1}
    assert {key.to_user_string() for key in asset.asset_deps[asset.key]} == {
        f"daily_{name}_activity" for name in ("app", "browser", "device", "entity", "os", "route")
    }
