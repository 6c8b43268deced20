"""A day that cannot be known is named, with the reason, in every form of a report.

It never reads as "nobody uses it".
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from conftest import START_DATE, Build, Fill
from support.commands import error_of, run_command
from support.days import days_ago, due_day, today, tomorrow
from support.reports import frame
from support.stored import install_on
from support.traffic import line

from signal_pipeline.days.coverage import today_notes
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.privacy.retention import purge_due_days, purge_incomplete
from signal_pipeline.reports.grouped_report import grouped_report
from signal_pipeline.reports.of_raw_events import raw_report
from signal_pipeline.reports.of_rollups import rollup_report
from signal_pipeline.reports.report import Report
from signal_pipeline.reports.report_errors import QuestionError
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import Settings

ONE = timedelta(days=1)
BEFORE, FIRST = START_DATE - ONE, START_DATE
DAYS = [days_ago(n) for n in (12, 11, 10)]
Ask = Callable[[date, date], Report]

pytestmark = pytest.mark.embedded_only


@pytest.fixture
def rollup(database: Database, models: Models) -> Ask:
    """Asks the rollup by app."""
    return lambda first, last: rollup_report(database, models, "app", first, last)


@pytest.fixture
def raw(database: Database) -> Ask:
    """Counts raw events by app."""
    return lambda first, last: raw_report(database, ["app"], {}, first, last)


@pytest.fixture
def long_installed(connection: Connection) -> None:
    """A database that existed from the start date on."""
    install_on(connection, START_DATE)


def before_start(count: int, days: str) -> str:
    return f"{count:,} day(s) are before the start date {START_DATE} and unknown: {days}"


def to_come(count: int, days: str) -> str:
    return f"{count:,} day(s) are still to come and unknown: {days}"


def not_over() -> str:
    return f"today, {today()}, is not over: its numbers are partial"


def test_a_window_that_nobody_can_know_says_why(rollup: Ask, raw: Ask) -> None:
    for first, last, note in [
        (BEFORE, BEFORE, before_start(1, f"{BEFORE}")),
        (BEFORE - 2 * ONE, BEFORE, before_start(3, f"{BEFORE - 2 * ONE} to {BEFORE}")),
        (tomorrow(), tomorrow(), to_come(1, f"{tomorrow()}")),
        (tomorrow(), tomorrow() + ONE, to_come(2, f"{tomorrow()} to {tomorrow() + ONE}")),
        (date.max - ONE, date.max, to_come(2, "9999-12-30 to 9999-12-31")),
        (date.min, date.min + ONE, before_start(2, "0001-01-01 to 0001-01-02")),
    ]:
        for ask in (rollup, raw):
            report = ask(first, last)
            assert (len(frame(report)), report.notes) == (0, [note])


def test_the_ends_of_a_window_are_told_apart(
    rollup: Ask, raw: Ask, fill: Fill, build: Build
) -> None:
    fill(FIRST)
    build(FIRST)
    for ask in (rollup, raw):
        assert ask(BEFORE, FIRST).notes == [before_start(1, f"{BEFORE}")]
        assert ask(today(), tomorrow()).notes == [to_come(1, f"{tomorrow()}"), not_over()]
        assert ask(FIRST, FIRST).notes == []
        everything = ask(date.min, date.max).notes
        assert everything[0] == before_start(
            (START_DATE - date.min).days, f"0001-01-01 to {BEFORE}"
        )
        assert everything[1] == to_come((date.max - today()).days, f"{tomorrow()} to 9999-12-31")


def test_days_that_were_never_built_are_named_with_and_without_events(
    rollup: Ask, raw: Ask, fill: Fill, build: Build, long_installed: None
) -> None:
    fill(DAYS[0])
    build(DAYS[0])
    fill(DAYS[1])
    days = f"{DAYS[1]} to {DAYS[2]}"
    assert rollup(DAYS[0], DAYS[2]).notes == [
        f"2 day(s) were never built, so they are unknown and not in these numbers: {days}"
    ]
    assert raw(DAYS[0], DAYS[2]).notes == [f"1 day(s) have no events in any app: {DAYS[2]}"]
    build(DAYS[1])
    build(DAYS[2])
    for ask in (rollup, raw):
        assert ask(DAYS[0], DAYS[2]).notes == []


def test_raw_events_of_days_before_the_installation_are_unknown_until_a_replay_brings_some(
    raw: Ask, fill: Fill
) -> None:
    fill(DAYS[1])
    report = raw(DAYS[0], DAYS[1])
    assert report.notes == [
        f"1 day(s) are before Signal was installed on {today()} and unknown: none of their events"
        f" was replayed: {DAYS[0]}"
    ]
    assert set(frame(report)["state"]) == {"partial"}
    assert raw(DAYS[1], DAYS[1]).notes == []


def test_a_sum_that_lacks_days_is_labelled(
    database: Database, models: Models, fill: Fill, build: Build
) -> None:
    for day in DAYS[:2]:
        fill(day)
        build(day)
    for first, last, state in [
        (DAYS[0], DAYS[1], "fresh"),
        (DAYS[0], DAYS[2], "missing"),
        (BEFORE, DAYS[1], "missing, partial"),
        (DAYS[1], today(), "missing, partial"),
        (DAYS[1], tomorrow(), "missing, partial"),
    ]:
        report = rollup_report(database, models, "app", first, last, by="total", event_type="(all)")
        assert set(frame(report)["state"]) == {state}, (first, last)


def test_today_is_partial_also_where_it_has_no_row(rollup: Ask, raw: Ask, ingest: Ingest) -> None:
    assert rollup(today(), today()).notes == raw(today(), today()).notes == [not_over()]
    ingest.ingest_lines([line()])
    assert rollup(today(), today()).notes == [
        f"today, {today()}, is not over and not built yet: it is not in these numbers"
    ]
    assert raw(today(), today()).notes == [not_over()]


def test_purged_days_that_a_rollup_lacks_or_holds_in_part_are_named_whatever_is_filtered(
    database: Database, models: Models, fill: Fill, build: Build
) -> None:
    due = [due_day(n) for n in (4, 3, 2)]
    fill(due[0])
    fill(due[1])
    build(due[1])
    fill(due[1], seed=2)
    fill(due[2])
    build(due[2])
    for day in due[:2]:
        purge_incomplete(database, models, day, "a test", 180)
    assert purge_due_days(database, models, 180).purged == [due[2]]
    report = rollup_report(database, models, "app", due[0], due[2], app="videos-admin")
    assert len(frame(report)) == 0
    expected = [
        (
            "1 day(s) were purged without a daily_app_activity, so they are unknown and not in"
            f" these numbers: {due[0]}"
        ),
        (
            "1 day(s) were purged before they were proven complete, so these numbers can be too"
            f" low: {due[1]}"
        ),
    ]
    assert report.notes == expected
    grouped = grouped_report(database, models, ["app"], {"app": "videos-admin"}, due[0], due[2])
    assert (
        grouped.notes[0]
        == "3 day(s) have no raw events any more, so these numbers are from daily_app_activity:"
        f" {due[0]} to {due[2]}"
    )
    assert grouped.notes[1:] == expected


def test_raw_events_that_are_missing_are_noted_where_no_row_can_tell(
    database: Database, connection: Connection, fill: Fill
) -> None:
    fill(DAYS[0])
    connection.execute("delete from signal.events where app_name = 'cms'")
    report = raw_report(database, ["route"], {"app": "cms"}, DAYS[0], DAYS[0])
    assert len(frame(report)) == 0
    assert report.notes == [
        "1 day(s) hold fewer raw events than the books say, so these numbers are too low:"
        f" {DAYS[0]}"
    ]


def test_a_filter_by_day_asks_for_that_day_alone(database: Database, fill: Fill) -> None:
    fill(DAYS[0])
    narrowed = raw_report(database, ["app"], {"day": str(DAYS[0])}, BEFORE, tomorrow())
    assert narrowed.notes == []
    assert set(frame(narrowed)["state"]) == {"exact"}
    unknown = raw_report(database, ["app"], {"day": str(BEFORE)}, BEFORE, tomorrow())
    assert unknown.notes == [before_start(1, f"{BEFORE}")]
    with pytest.raises(QuestionError, match="lies outside the window"):
        raw_report(database, ["app"], {"day": str(BEFORE)}, DAYS[0], DAYS[1])


def test_an_event_of_tomorrow_from_a_clock_that_is_ahead_is_partial(
    database: Database, raw: Ask, settings: Settings
) -> None:
    """Five minutes of skew are accepted, past midnight too."""
    midnight = datetime(tomorrow().year, tomorrow().month, tomorrow().day, tzinfo=UTC)
    with closing(
        Ingest.from_settings(settings, database, lambda: midnight - timedelta(minutes=1))
    ) as ingest:
        assert ingest.ingest_lines([line(midnight)]).accepted == 1
    report = raw(tomorrow(), tomorrow())
    assert list(frame(report)["state"]) == ["partial"]
    assert report.notes == [to_come(1, f"{tomorrow()}")]


def test_a_day_is_over_only_by_both_clocks_and_to_come_only_by_both(
    rollup: Ask,
    raw: Ask,
    fill: Fill,
    build: Build,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """This machine's clock is ahead of PostgreSQL's by a day, then behind it."""
    fill(today())
    build(today())
    others = rollup(today(), today()), raw(today(), today())
    for here, last in ((tomorrow(), tomorrow()), (days_ago(1), today())):
        monkeypatch.setattr("signal_pipeline.days.coverage.today_utc", lambda here=here: here)
        for ask, other in zip((rollup, raw), others, strict=True):
            report = ask(today(), today())
            assert frame(report).equals(frame(other))
            assert set(frame(report)["state"]) == {"partial"}
            note = (
                f"today is {last - ONE} or {last}, since the clocks of PostgreSQL and of this"
                " machine disagree, and is not over: its numbers are partial"
            )
            assert report.notes == ask(last, last).notes == [note]
            assert ask(last + ONE, last + ONE).notes == [to_come(1, f"{last + ONE}")]
        assert today_notes(connection, today())


@pytest.mark.parametrize(
    "question", [["app"], ["route", "--by", "week"], ["os", "--by", "total"], ["--group-by", "app"]]
)
def test_every_form_of_a_report_says_it_on_stderr(
    environment: Settings, tmp_path: Path, question: list[str]
) -> None:
    before = (BEFORE, BEFORE, before_start(1, f"{BEFORE}"))
    after = (
        tomorrow(),
        date.max,
        to_come((date.max - today()).days, f"{tomorrow()} to 9999-12-31"),
    )
    said = {}
    for (first, last, note), form in ((before, "table"), (after, "csv"), (before, "json")):
        window = ("--from", first, "--to", last, "--format", form)
        done = run_command("report", *question, *window, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, f"note: {note}\n")
        said[form] = done.stdout
    assert json.loads(said["json"]) == []
    assert len(list(csv.reader(io.StringIO(said["csv"])))) == 1


def test_a_database_without_a_start_date_is_told_to_migrate(
    environment: Settings, connection: Connection, tmp_path: Path
) -> None:
    connection.execute("delete from signal.instance")
    done = run_command("report", "app", "--from", today(), "--to", today(), cwd=tmp_path)
    assert done.returncode == 1
    assert "run `signal-pipeline migrate`" in error_of(done.stderr)
