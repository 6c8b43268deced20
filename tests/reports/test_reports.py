"""Reports are exact against the oracle, and each number has its state.

Sums are named as sums, and a report that would be wrong is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import SECRET, START_DATE, Fill
from support.commands import error_of, run_command
from support.oracle import DIMENSIONS, Oracle
from support.traffic import line, traffic

from signal_pipeline.catalogue.load import PACKAGED_CATALOGUE
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.privacy.retention import purge_due_days, purge_incomplete
from signal_pipeline.reports.dimensions import KEYS
from signal_pipeline.reports.of_raw_events import grouped_report, raw_report
from signal_pipeline.reports.of_rollups import ReportError, rollup_report
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.models import Models
from signal_pipeline.rollups.postgres_engine import PostgresEngine
from signal_pipeline.settings import Settings

TODAY = datetime.now(UTC).date()
SUNDAY = TODAY - timedelta(days=TODAY.isoweekday() + 7)
WINDOW = [SUNDAY + timedelta(days=n) for n in (-1, 0, 1)]  # Over the end of an ISO week.
Build = Callable[..., None]

pytestmark = pytest.mark.embedded_only


@pytest.fixture
def build(database: Database, models: Models) -> Build:
    """Builds every rollup of the given days."""

    def build_days(*days: date) -> None:
        for day in days:
            build_day(database, PostgresEngine(), models, day)

    return build_days


@pytest.fixture
def oracle(ingest: Ingest) -> Oracle:
    """Three days of traffic, ingested, and the oracle of them."""
    oracle = Oracle(SECRET, START_DATE)
    for day in WINDOW:
        lines = traffic(day, 120)
        ingest.ingest_lines(lines)
        oracle.take(lines, datetime.now(UTC))
    return oracle


def rows_of(frame: pd.DataFrame, *without: str) -> set[tuple[object, ...]]:
    rows = [
        tuple(row) for row in frame.drop(columns=list(without)).itertuples(index=False, name=None)
    ]
    assert len(rows) == len(set(rows))
    return set(rows)


@pytest.mark.parametrize("kind", ["app", "device", "route", "entity", "browser", "os"])
def test_a_rollup_by_day_is_the_oracles(
    database: Database, models: Models, oracle: Oracle, build: Build, kind: str
) -> None:
    build(*WINDOW)
    rollup = f"daily_{kind}_activity"
    report = rollup_report(database, models, kind, WINDOW[0], WINDOW[-1])
    dimensions = ["app_name", "event_type", *DIMENSIONS[rollup]]
    assert list(report.rows.columns) == [
        "activity_date",
        *dimensions,
        "events",
        "users",
        "sessions",
        "state",
    ]
    assert rows_of(report.rows, "state") == set().union(
        *(oracle.rows(rollup, day) for day in WINDOW)
    )
    assert set(report.rows["state"]) == {"fresh"}
    assert report.notes == []


@pytest.mark.parametrize("kind", ["app", "route"])
@pytest.mark.parametrize("by", ["week", "total"])
def test_sums_over_days_are_named_as_sums(
    database: Database, models: Models, oracle: Oracle, build: Build, kind: str, by: Any
) -> None:
    build(*WINDOW)
    rollup = f"daily_{kind}_activity"
    report = rollup_report(database, models, kind, WINDOW[0], WINDOW[-1], by=by)
    measures = ["events", "summed_daily_users", "summed_daily_sessions"]
    names = ["week"] * (by == "week") + ["app_name", "event_type", *DIMENSIONS[rollup]]
    assert list(report.rows.columns) == [*names, *measures, "state"]

    daily = pd.DataFrame([row for day in WINDOW for row in oracle.rows(rollup, day)])
    daily[0] = (
        daily[0].map(lambda day: "{}-W{:02}".format(*day.isocalendar())) if by == "week" else ""
    )
    summed = daily.groupby(list(range(len(daily.columns) - 3))).sum().reset_index()
    assert rows_of(report.rows, "state") == rows_of(
        summed if by == "week" else summed.drop(columns=[0])
    )


def test_filters_of_a_rollup(
    database: Database, models: Models, oracle: Oracle, build: Build
) -> None:
    build(*WINDOW)
    report = rollup_report(
        database, models, "device", WINDOW[0], WINDOW[-1], app="cms", event_type="(all)"
    )
    expected = {
        row
        for day in WINDOW
        for row in oracle.rows("daily_device_activity", day)
        if row[1:3] == ("cms", "(all)")
    }
    assert rows_of(report.rows, "state") == expected


def _raw_expected(
    oracle: Oracle, keys: Sequence[str], where: dict[str, str]
) -> set[tuple[object, ...]]:
    columns = {
        "day": "day",
        "app": "app_name",
        "event-type": "event_type",
        "route": "route",
        "entity-type": "entity_type",
        "entity": "entity_id",
        "device": "device_type",
        "browser": "browser_family",
        "os": "os_family",
    }
    frame = pd.DataFrame(list(oracle.events.values()))
    frame["day"] = frame["created_at"].dt.date
    for name in ("route", "entity_type", "entity_id"):
        frame[name] = frame[name].fillna("(none)")
    for key, value in where.items():
        frame = frame[frame[columns[key]].astype(str) == value]
    names = [columns[key] for key in keys]
    users = (
        frame.groupby([*names, frame["day"].rename("of")])["user_hash"]
        .nunique()
        .groupby(names)
        .sum()
    )
    found = set()
    for group, rows in frame.groupby(names):
        found.add(
            (
                *group,
                len(rows),
                int(users.loc[group if len(names) > 1 else group[0]]),
                rows["session_id"].nunique(),
            )
        )
    return found


@pytest.mark.parametrize(
    ("keys", "where"),
    [
        (["app"], {}),
        (["app", "route"], {}),
        (["day", "device", "os"], {}),
        (["entity-type", "entity"], {"event-type": "journey_create_clicked"}),
        (["event-type", "browser", "route"], {"app": "cms", "device": "mobile"}),
        (["app"], {"route": "(none)"}),
        (["app"], {"day": str(WINDOW[1])}),
        (["app"], {"route": "/no/such%20route' or '1'='1"}),
        (list(KEYS), {}),
    ],
)
def test_raw_counts_are_the_oracles(
    database: Database, oracle: Oracle, keys: list[str], where: dict[str, str]
) -> None:
    report = raw_report(database, keys, where, WINDOW[0], WINDOW[-1])
    assert rows_of(report.rows, "state") == _raw_expected(oracle, keys, where)
    users = "users" if "day" in keys else "summed_daily_users"
    assert list(report.rows.columns[len(keys) :]) == ["events", users, "sessions", "state"]


def test_an_entity_is_found_however_its_id_is_written(database: Database, oracle: Oracle) -> None:
    entity = min(str(event["entity_id"]) for event in oracle.events.values() if event["entity_id"])
    report = raw_report(database, ["app"], {"entity": entity.upper()}, WINDOW[0], WINDOW[-1])
    assert rows_of(report.rows, "state") == _raw_expected(oracle, ["app"], {"entity": entity})


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


def test_over_one_day_raw_users_are_distinct(database: Database, oracle: Oracle) -> None:
    report = raw_report(database, ["app", "app"], {}, WINDOW[1], WINDOW[1])
    assert list(report.rows.columns) == ["app_name", "events", "users", "sessions", "state"]
    expected = {
        row[1:2] + row[3:]
        for row in oracle.rows("daily_app_activity", WINDOW[1])
        if row[2] == "(all)"
    }
    assert rows_of(report.rows, "state") == expected


def test_a_route_with_a_percent_sign_can_be_asked_for(database: Database, ingest: Ingest) -> None:
    noon = datetime(SUNDAY.year, SUNDAY.month, SUNDAY.day, 12, tzinfo=UTC)
    ingest.ingest_lines([line(noon, route="/a%20b"), line(noon, route="/ab")])
    report = raw_report(database, ["route"], {"route": "/a%20b"}, SUNDAY, SUNDAY)
    assert rows_of(report.rows, "state") == {("/a%20b", 1, 1, 0)}


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
    with pytest.raises(ReportError, match="is after"):
        rollup_report(database, models, "app", SUNDAY, SUNDAY - timedelta(days=1))
    with pytest.raises(ReportError, match="is after"):
        raw_report(database, ["app"], {}, SUNDAY, SUNDAY - timedelta(days=1))
    with pytest.raises(ReportError, match="no rollup"):
        rollup_report(database, models, "moon", SUNDAY, SUNDAY)


def test_a_window_without_events_is_empty(database: Database, models: Models) -> None:
    for by in ("day", "week", "total"):
        assert len(rollup_report(database, models, "app", SUNDAY, SUNDAY, by=by).rows) == 0  # type: ignore[arg-type]
    assert len(raw_report(database, ["app", "day"], {}, SUNDAY, SUNDAY).rows) == 0


def states(
    database: Database, models: Models, first: date, last: date, **options: Any
) -> dict[str, str]:
    report = rollup_report(database, models, "app", first, last, event_type="(all)", **options)
    key = next(
        name for name in ("activity_date", "week", "app_name") if name in report.rows.columns
    )
    return {str(row[key]): str(row["state"]) for row in report.rows.to_dict("records")}


def test_today_is_partial(database: Database, models: Models, ingest: Ingest, build: Build) -> None:
    ingest.ingest_lines([line(), line(datetime.now(UTC) - timedelta(days=1))])
    build(TODAY, TODAY - timedelta(days=1))
    yesterday = str(TODAY - timedelta(days=1))
    assert states(database, models, TODAY - timedelta(days=1), TODAY) == {
        str(TODAY): "partial",
        yesterday: "fresh",
    }
    raw = raw_report(database, ["day"], {}, TODAY - timedelta(days=1), TODAY).rows
    assert dict(zip(raw["activity_date"].map(str), raw["state"], strict=True)) == {
        str(TODAY): "partial",
        yesterday: "exact",
    }
    assert set(
        raw_report(database, ["app"], {}, TODAY - timedelta(days=1), TODAY).rows["state"]
    ) == {"partial"}


def test_a_stale_day_is_stale_in_its_row_and_in_every_sum(
    database: Database, models: Models, fill: Fill, build: Build
) -> None:
    saturday = SUNDAY - timedelta(days=1)
    for day in (saturday, SUNDAY):
        fill(day)
    build(saturday, SUNDAY)
    fill(SUNDAY, seed=2)
    assert states(database, models, saturday, SUNDAY) == {
        str(saturday): "fresh",
        str(SUNDAY): "stale",
    }
    assert set(states(database, models, saturday, SUNDAY, by="total").values()) == {"stale"}
    (note,) = rollup_report(database, models, "app", saturday, SUNDAY).notes
    assert note.startswith("1 day(s) have newer events")
    assert str(SUNDAY) in note


def test_a_day_that_was_never_built_is_missing_from_the_sum_and_said_so(
    database: Database, models: Models, fill: Fill, build: Build
) -> None:
    for day in WINDOW:
        fill(day)
    build(WINDOW[0], WINDOW[2])
    report = rollup_report(database, models, "app", WINDOW[0], WINDOW[2], by="total")
    assert set(report.rows["state"]) == {"missing"}
    (note,) = report.notes
    assert (
        note == f"1 day(s) were never built, so they are unknown and not in these numbers: {SUNDAY}"
    )


def test_a_week_that_the_window_cuts_is_partial(
    database: Database, models: Models, fill: Fill, build: Build
) -> None:
    monday = SUNDAY - timedelta(days=6)
    for day in (monday, SUNDAY):
        fill(day)
    build(*(monday + timedelta(days=n) for n in range(7)))
    assert set(states(database, models, monday, SUNDAY, by="week").values()) == {"fresh"}
    assert set(
        states(database, models, monday, SUNDAY - timedelta(days=1), by="week").values()
    ) == {"partial"}


def test_purged_days_stay_in_rollups_and_are_refused_from_raw(
    database: Database, models: Models, fill: Fill, build: Build
) -> None:
    due = TODAY - timedelta(days=181)
    fill(due)
    build(due)
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
        raw_report(database, ["route", "app"], {}, due, TODAY)
    with pytest.raises(ReportError, match=r"2 day\(s\).*too low"):
        grouped_report(database, models, ["route", "device"], {}, due - timedelta(days=1), TODAY)
    assert (
        len(raw_report(database, ["route", "device"], {}, due + timedelta(days=1), TODAY).rows) == 0
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
    build: Build,
    keys: list[str],
    where: dict[str, str],
    has_users: bool,
) -> None:
    due = TODAY - timedelta(days=181)
    fill(due, 60)
    build(due)
    before = raw_report(database, keys, where, due, due).rows
    assert purge_due_days(database, models, 180).purged == [due]
    report = grouped_report(database, models, keys, where, due, due)
    assert set(report.rows["state"]) == {"purged"}
    if "entity" in keys:
        before = before[before["entity_id"] != "(none)"]
        assert "events without an entity are not in these numbers" in report.notes
    shown = [
        column for column in before.columns if column in report.rows.columns and column != "state"
    ]
    assert ("users" in shown, "sessions" in shown) == (has_users, has_users)
    assert sorted(map(tuple, report.rows[shown].to_numpy())) == sorted(
        map(tuple, before[shown].to_numpy())
    )


def test_a_rollup_is_not_asked_for_what_it_leaves_out(
    database: Database, models: Models, fill: Fill, build: Build
) -> None:
    due = TODAY - timedelta(days=181)
    fill(due)
    build(due)
    assert purge_due_days(database, models, 180).purged == [due]
    with pytest.raises(ReportError, match="too low"):
        grouped_report(database, models, ["app"], {"entity": "(none)"}, due, due)


def test_missing_raw_events_are_labelled(database: Database, fill: Fill) -> None:
    fill(SUNDAY)
    with database.connect() as connection:
        connection.execute("delete from signal.events where device_type = 'mobile'")
    assert set(raw_report(database, ["app"], {}, SUNDAY, SUNDAY).rows["state"]) == {"incomplete"}


def test_incomplete_days_are_labelled_for_ever(
    database: Database, models: Models, fill: Fill, build: Build
) -> None:
    due = TODAY - timedelta(days=181)
    fill(due)
    build(due)
    fill(due, seed=2)  # The build is stale now, so the day fails its proof.
    purge_incomplete(database, models, due, "a test", 180)
    assert states(database, models, due, due) == {str(due): "incomplete, purged"}


def test_a_day_with_many_missing_addresses_is_degraded_for_that_app_alone(
    database: Database, models: Models, ingest: Ingest, build: Build
) -> None:
    noon = datetime(SUNDAY.year, SUNDAY.month, SUNDAY.day, 12, tzinfo=UTC)
    one_in_a_hundred = [line(noon, appName="cms", ip="10.0.0.1" if n else None) for n in range(100)]
    two_in_a_hundred = [
        line(noon, ip="10.0.0.1" if n > 1 else ("nowhere" if n else None)) for n in range(100)
    ]
    ingest.ingest_lines([*one_in_a_hundred, *two_in_a_hundred])
    build(SUNDAY)
    rows = rollup_report(database, models, "app", SUNDAY, SUNDAY, event_type="(all)").rows
    assert dict(zip(rows["app_name"], rows["state"], strict=True)) == {
        "cms": "fresh",
        "journeys-admin": "degraded",
    }
    raw = raw_report(database, ["app"], {}, SUNDAY, SUNDAY).rows
    assert dict(zip(raw["app_name"], raw["state"], strict=True)) == {
        "cms": "exact",
        "journeys-admin": "degraded",
    }
    assert set(raw_report(database, ["device"], {}, SUNDAY, SUNDAY).rows["state"]) == {"degraded"}


def test_a_day_of_two_rules_of_names_is_over_counted(
    database: Database, models: Models, ingest: Ingest, connection: Connection, build: Build
) -> None:
    """An upgrade on this day changes the rules of names.

    A person whose browser is then named differently has two hashes.
    """
    ingest.ingest_lines([line(datetime(SUNDAY.year, SUNDAY.month, SUNDAY.day, 12, tzinfo=UTC))])
    build(SUNDAY)
    assert states(database, models, SUNDAY, SUNDAY) == {str(SUNDAY): "fresh"}
    # The rows of the version before: it knew only the first rules.
    connection.execute(
        "insert into signal.day_keys (day, key_id) select day, key_id from signal.day_keys"
    )
    assert states(database, models, SUNDAY, SUNDAY) == {str(SUNDAY): "over-counted"}
    assert set(raw_report(database, ["app"], {}, SUNDAY, SUNDAY).rows["state"]) == {"over-counted"}


def test_a_day_of_two_secrets_is_over_counted(
    database: Database, models: Models, settings: Settings, ingest: Ingest, build: Build
) -> None:
    noon = datetime(SUNDAY.year, SUNDAY.month, SUNDAY.day, 12, tzinfo=UTC)
    ingest.ingest_lines([line(noon)])
    rotated = settings.model_copy(
        update={"salt_secret": type(settings.salt_secret)("another-secret" * 4)}
    )  # type: ignore[misc, call-arg, arg-type]
    with closing(Ingest.from_settings(rotated, database)) as other:
        other.ingest_lines([line(noon)])
    build(SUNDAY)
    assert states(database, models, SUNDAY, SUNDAY) == {str(SUNDAY): "over-counted"}
    assert set(raw_report(database, ["app"], {}, SUNDAY, SUNDAY).rows["state"]) == {"over-counted"}


def test_a_model_change_inside_the_window_is_noted(
    database: Database, models: Models, connection: Connection, fill: Fill, build: Build
) -> None:
    for day in WINDOW:
        fill(day)
    build(*WINDOW)
    connection.execute(
        "update signal.builds set model_checksum = 'older' where day = %s", [WINDOW[0]]
    )
    notes = rollup_report(database, models, "app", WINDOW[0], WINDOW[-1]).notes
    assert any(
        str(WINDOW[1]) in note and "the model of daily_app_activity changed" in note
        for note in notes
    )


def test_the_command_prints_a_report_in_three_forms(
    environment: Settings, oracle: Oracle, build: Build, tmp_path: Path
) -> None:
    build(*WINDOW)
    window = ("--from", WINDOW[0], "--to", WINDOW[-1])
    as_json = run_command("report", "app", *window, "--format", "json", cwd=tmp_path)
    rows = json.loads(as_json.stdout)
    assert list(rows[0]) == [
        "activity_date",
        "app_name",
        "event_type",
        "events",
        "users",
        "sessions",
        "state",
    ]
    as_csv = run_command(
        "report", "app", *window, "--format", "csv", cwd=tmp_path
    ).stdout.splitlines()
    assert as_csv[0].split(",") == list(rows[0])
    assert as_csv[1].split(",") == [str(value) for value in rows[0].values()]
    table = run_command(
        "report", "--group-by", "app,day", "--where", "app=cms", *window, cwd=tmp_path
    )
    assert table.returncode == 0
    assert "summed" not in table.stdout
    assert "cms" in table.stdout
    assert "journeys-admin" not in table.stdout
