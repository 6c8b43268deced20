"""Reports from rollups and from raw events are what the oracle counts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from psycopg import sql
from support.commands import run_command
from support.oracle import DIMENSIONS, Oracle
from support.reports import SUNDAY, WINDOW, BuildDays, Models, frame, rows_of
from support.traffic import line

from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.reports import of_raw_events
from signal_pipeline.reports.dimensions import KEYS
from signal_pipeline.reports.of_raw_events import raw_report
from signal_pipeline.reports.of_rollups import rollup_report
from signal_pipeline.reports.report import Rows, read_rows
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only


@pytest.mark.parametrize("kind", ["app", "device", "route", "entity", "browser", "os"])
def test_a_rollup_by_day_is_the_oracles(
    database: Database, models: Models, oracle: Oracle, build_days: BuildDays, kind: str
) -> None:
    build_days(*WINDOW)
    rollup = f"daily_{kind}_activity"
    report = rollup_report(database, models, kind, WINDOW[0], WINDOW[-1])
    dimensions = ["app_name", "event_type", *DIMENSIONS[rollup]]
    assert list(frame(report).columns) == [
        "activity_date",
        *dimensions,
        "events",
        "users",
        "sessions",
        "state",
    ]
    assert rows_of(frame(report), "state") == set().union(
        *(oracle.rows(rollup, day) for day in WINDOW)
    )
    assert set(frame(report)["state"]) == {"fresh"}
    assert report.notes == []


@pytest.mark.parametrize("kind", ["app", "route"])
@pytest.mark.parametrize("by", ["week", "total"])
def test_sums_over_days_are_named_as_sums(
    database: Database, models: Models, oracle: Oracle, build_days: BuildDays, kind: str, by: Any
) -> None:
    build_days(*WINDOW)
    rollup = f"daily_{kind}_activity"
    report = rollup_report(database, models, kind, WINDOW[0], WINDOW[-1], by=by)
    measures = ["events", "summed_daily_users", "summed_daily_sessions"]
    names = ["week"] * (by == "week") + ["app_name", "event_type", *DIMENSIONS[rollup]]
    assert list(frame(report).columns) == [*names, *measures, "state"]

    daily = pd.DataFrame([row for day in WINDOW for row in oracle.rows(rollup, day)])
    daily[0] = (
        daily[0].map(lambda day: "{}-W{:02}".format(*day.isocalendar())) if by == "week" else ""
    )
    summed = daily.groupby(list(range(len(daily.columns) - 3))).sum().reset_index()
    assert rows_of(frame(report), "state") == rows_of(
        summed if by == "week" else summed.drop(columns=[0])
    )


def test_filters_of_a_rollup(
    database: Database, models: Models, oracle: Oracle, build_days: BuildDays
) -> None:
    build_days(*WINDOW)
    report = rollup_report(
        database, models, "device", WINDOW[0], WINDOW[-1], app="cms", event_type="(all)"
    )
    expected = {
        row
        for day in WINDOW
        for row in oracle.rows("daily_device_activity", day)
        if row[1:3] == ("cms", "(all)")
    }
    assert rows_of(frame(report), "state") == expected


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
    assert rows_of(frame(report), "state") == _raw_expected(oracle, keys, where)
    users = "users" if "day" in keys else "summed_daily_users"
    assert list(frame(report).columns[len(keys) :]) == ["events", users, "sessions", "state"]


def test_an_entity_is_found_however_its_id_is_written(database: Database, oracle: Oracle) -> None:
    entity = min(str(event["entity_id"]) for event in oracle.events.values() if event["entity_id"])
    report = raw_report(database, ["app"], {"entity": entity.upper()}, WINDOW[0], WINDOW[-1])
    assert rows_of(frame(report), "state") == _raw_expected(oracle, ["app"], {"entity": entity})


def test_over_one_day_raw_users_are_distinct(database: Database, oracle: Oracle) -> None:
    report = raw_report(database, ["app", "app"], {}, WINDOW[1], WINDOW[1])
    assert list(frame(report).columns) == ["app_name", "events", "users", "sessions", "state"]
    expected = {
        row[1:2] + row[3:]
        for row in oracle.rows("daily_app_activity", WINDOW[1])
        if row[2] == "(all)"
    }
    assert rows_of(frame(report), "state") == expected


@pytest.mark.parametrize(
    ("where", "by_index"), [({}, False), ({"browser": "Chrome"}, False), ({"app": "cms"}, True)]
)
def test_days_that_nobody_analyzed_are_counted_in_hash_tables(
    database: Database,
    oracle: Oracle,
    where: dict[str, str],
    by_index: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on an embedded server, which is often stopped before its autovacuum comes by."""
    plans: list[str] = []

    def read_and_explain(connection: Connection, statement: Any, values: Any) -> Rows:
        explained = connection.execute(sql.SQL("explain ") + statement, values).fetchall()
        plans.extend(line for (line,) in explained)
        return read_rows(connection, statement, values)

    with database.connect() as connection:
        connection.execute(
            "delete from pg_statistic where starelid::regclass::text like 'signal.events%'"
        )
    monkeypatch.setattr(of_raw_events, "read_rows", read_and_explain)
    assert raw_report(database, ["os"], where, WINDOW[0], WINDOW[-1]).records
    nodes = [line.strip().removeprefix("->").strip() for line in plans]
    assert [line for line in nodes[1:] if line.startswith("Sort  (")] == []
    assert any(line.startswith("HashAggregate") for line in nodes)
    assert any("Index Scan" in line for line in nodes) == by_index


def test_a_route_with_a_percent_sign_can_be_asked_for(database: Database, ingest: Ingest) -> None:
    noon = datetime(SUNDAY.year, SUNDAY.month, SUNDAY.day, 12, tzinfo=UTC)
    ingest.ingest_lines([line(noon, route="/a%20b"), line(noon, route="/ab")])
    report = raw_report(database, ["route"], {"route": "/a%20b"}, SUNDAY, SUNDAY)
    assert rows_of(frame(report), "state") == {("/a%20b", 1, 1, 0)}


def test_a_window_without_events_is_empty(database: Database, models: Models) -> None:
    for by in ("day", "week", "total"):
        assert len(frame(rollup_report(database, models, "app", SUNDAY, SUNDAY, by=by))) == 0  # type: ignore[arg-type]
    assert len(frame(raw_report(database, ["app", "day"], {}, SUNDAY, SUNDAY))) == 0


def test_the_command_prints_a_report_in_three_forms(
    environment: Settings, oracle: Oracle, build_days: BuildDays, tmp_path: Path
) -> None:
    build_days(*WINDOW)
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
