"""The schema that people and BI tools read, `signal_reporting`.

A plain sum over a view is right, every column is explained, and the reader sees nothing else.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from conftest import SECRET, START_DATE, Build, Fill
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from support.days import days_ago, due_day, today, yesterday
from support.oracle import DIMENSIONS, Oracle
from support.reporting import grains, rows
from support.traffic import line, traffic

from signal_pipeline.days.freshness import day_statuses
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.privacy import retention
from signal_pipeline.rollups.models import Models

_numbers = itertools.count(1)


click = st.fixed_dictionaries(
    {
        "eventType": st.sampled_from(["journey_create_clicked", "editor_analytics_overlay_opened"]),
        "appName": st.sampled_from(["journeys-admin", "cms"]),
        "route": st.sampled_from([None, "/", "/journeys"]),
        "ip": st.sampled_from(["198.51.100.1", "198.51.100.2"]),
        "entity": st.booleans(),
    }
)


def line_of(click: dict[str, Any], day: date) -> bytes:
    fields = {key: value for key, value in click.items() if key != "entity"}
    if click["entity"]:
        fields |= {"entityType": "journey", "entityId": "00000000-0000-4000-8000-000000000001"}
    return line(datetime(day.year, day.month, day.day, 12, tzinfo=UTC), **fields)


@pytest.mark.embedded_only
@examples(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(clicks=st.lists(click, min_size=1, max_size=30), again=st.integers(0, 5))
def test_a_plain_sum_of_events_is_right_however_it_is_grouped(
    clicks: list[dict[str, Any]],
    again: int,
    reader: Connection,
    build: Build,
    ingest_at: Callable[[datetime], Ingest],
) -> None:
    day = yesterday() - timedelta(days=next(_numbers))
    now = datetime.fromisoformat(f"{day}T23:59:59+00:00")
    lines = [line_of(each, day) for each in clicks]
    oracle = Oracle(SECRET, START_DATE)
    for batch in (lines, lines[:again]):
        oracle.take(batch, now)
        ingest_at(now).ingest_lines(batch)
    build(day)
    events = [event for event in oracle.events.values() if event["created_at"].date() == day]
    for rollup, dimensions in DIMENSIONS.items():
        counted = [e for e in events if rollup != "daily_entity_activity" or e["entity_id"]]
        for view, columns in (
            (rollup, ["app_name", *dimensions]),
            (f"{rollup}_by_type", ["app_name", *dimensions, "event_type"]),
        ):
            for size in range(len(columns) + 1):
                for group in itertools.combinations(columns, size):
                    names = ", ".join(["activity_date", *group])
                    got = rows(
                        reader,
                        f"select {names}, sum(events)::int from {view}"
                        f" where activity_date = %s group by {names}",
                        day,
                    )
                    wanted = Counter(
                        (day, *("(none)" if e[c] is None else e[c] for c in group)) for e in counted
                    )
                    assert {row[:-1]: row[-1] for row in got} == dict(wanted), (view, group)
    assert rows(reader, "select events::int from days where day = %s", day) == [(len(events),)]
    assert rows(
        reader,
        "select sum(received)::int, sum(accepted)::int, sum(duplicates)::int, sum(dropped)::int"
        " from books where day = %s",
        day,
    ) == [(len(lines) + min(again, len(lines)), len(lines), min(again, len(lines)), 0)]


def test_distinct_counts_are_those_of_the_rollup(
    reader: Connection, fill: Fill, build: Build, connection: Connection
) -> None:
    fill(yesterday(), 80)
    build(yesterday())
    for rollup, dimensions in DIMENSIONS.items():
        names = ", ".join(["activity_date", "app_name", *dimensions])
        for view, extra, where in (
            (rollup, "", "event_type = '(all)'"),
            (f"{rollup}_by_type", ", event_type", "event_type <> '(all)'"),
        ):
            stored = f"select {names}{extra}, events, users, sessions from signal.{rollup}"
            shown = f"select {names}{extra}, events, daily_users, daily_sessions from {view}"
            assert sorted(rows(reader, shown)) == sorted(
                rows(connection, f"{stored} where {where}")
            )


def test_each_view_has_one_row_per_grain(
    reader: Connection,
    ingest_at: Callable[[datetime], Ingest],
    build: Build,
) -> None:
    for day in (yesterday(), days_ago(3)):
        now = datetime.fromisoformat(f"{day}T23:59:59+00:00")
        bad = [line(now, userAgent="Googlebot/2.1"), line(now, appName="nobody"), b"{", b"{}"]
        again = traffic(day, 60)
        ingest_at(now).ingest_lines([*again, *again[:9], *bad, line(now, ip=None)])
        build(day)
    for view, grain in grains().items():
        # A view without a grain has one row.
        got = rows(
            reader,
            f"select count(*), count(distinct ({', '.join(grain) or 'true'})) from {view}",
        )
        assert got[0][0] == got[0][1] > 0, view


def test_everything_has_a_comment_and_distinct_counts_say_never_add_up(
    reader: Connection,
) -> None:
    comments = rows(
        reader,
        "select c.relname, a.attname, coalesce(col_description(c.oid, a.attnum), ''),"
        " coalesce(obj_description(c.oid, 'pg_class'), '') from pg_class as c join pg_attribute"
        " as a on a.attrelid = c.oid and a.attnum > 0"
        " where c.relnamespace = 'signal_reporting'::regnamespace",
    )
    assert {view for view, *_ in comments} == set(grains())
    for view, column, of_column, of_view in comments:
        where = f"{view}.{column}"
        assert of_column.strip(), where
        assert "one row" in of_view.lower(), where
        assert "(all)" not in of_column + of_view, where
        if column.startswith("daily_") or column in ("version", "rows", "raw_events"):
            assert "never add" in of_column.lower(), where
        if view.startswith("daily_"):
            assert "never add up" in of_view, where
    names = {column for _, column, *_ in comments}
    assert not names & {"users", "sessions"}


def test_days_and_rollups_have_the_states_that_status_shows(
    reader: Connection,
    connection: Connection,
    database: Database,
    fill: Fill,
    build: Build,
    models: Models,
) -> None:
    due, unbuilt, gone = due_day(), days_ago(5), days_ago(6)
    for day in (due, yesterday(), days_ago(3)):
        fill(day, 20)
        build(day)
    fill(yesterday(), 5, 2)
    fill(unbuilt, 5)
    fill(gone, 5)
    connection.execute("update signal.days set state = 'purged' where day = %s", [gone])
    connection.execute("delete from signal.builds where rollup = 'daily_os_activity'")
    forced = due - timedelta(days=1)
    fill(forced, 5)
    build(forced)
    assert retention.purge_incomplete(database, models, forced, "tried", 180) is not None
    connection.execute(
        "update signal.builds set model_checksum = 'of before' where day = %s", [due]
    )
    connection.execute(
        "update signal.builds set model_checksum = 'of before' where day = %s and rollup ="
        " 'daily_app_activity'",
        [days_ago(3)],
    )
    connection.execute("insert into signal.day_keys values (%s, 'another0', 1)", [yesterday()])
    statuses = day_statuses(connection, models.checksums)
    shown = rows(reader, "select day, rollup, freshness from rollup_days")
    assert {(day, rollup): freshness for day, rollup, freshness in shown} == {
        (status.day, rollup): freshness
        for status in statuses
        for rollup, freshness in status.rollups.items()
    }
    assert {freshness for *_, freshness in shown} == {
        "fresh",
        "stale",
        "missing",
        "unavailable",
        "incomplete",
    }
    states = rows(reader, "select day, state, is_partial, is_incomplete, version, events from days")
    assert sorted(states) == [
        (
            s.day,
            s.state,
            s.day == today(),
            s.incomplete,
            s.version,
            _by_the_books(connection, s.day),
        )
        for s in statuses
    ]
    counted = rows(reader, "select day from days where users_over_counted")
    assert counted == [(yesterday(),)]


def _by_the_books(connection: Connection, day: date) -> int:
    found = rows(
        connection,
        "select coalesce(sum(events) filter (where outcome = 'accepted'), 0)::int from signal.books"
        " where day = %s",
        day,
    )
    return int(found[0][0])


def test_today_is_partial_and_yesterday_is_not(
    reader: Connection, fill: Fill, build: Build
) -> None:
    fill(yesterday())
    build(yesterday())
    fill(today())
    build(today())
    for view in grains():
        if view.startswith("daily_"):
            days = rows(reader, f"select distinct activity_date, is_partial from {view} order by 1")
            assert days == [(yesterday(), False), (today(), True)], view


def test_an_app_without_addresses_is_degraded(
    reader: Connection, ingest_at: Callable[[datetime], Ingest]
) -> None:
    now = datetime.fromisoformat(f"{yesterday()}T23:00:00+00:00")
    good = [line(now) for _ in range(100)]
    ingest_at(now).ingest_lines([*good, line(now, ip=None), line(now, ip="nonsense")])
    ingest_at(now).ingest_lines([line(now, appName="cms") for _ in range(10)])
    found = rows(
        reader, "select app_name, accepted::int, without_address::int, users_degraded from app_days"
    )
    assert sorted(found) == [("cms", 10, 0, False), ("journeys-admin", 102, 2, True)]
