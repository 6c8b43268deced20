"""Small cells below admin.

Even if one knows the rule and every answer, one learns no count of one to four people.
"""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path

import pytest
from conftest import START_DATE, Build, Fill
from support.commands import run_command

from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.reports.dimensions import KEYS
from signal_pipeline.reports.of_raw_events import raw_report
from signal_pipeline.reports.of_rollups import Report, rollup_report
from signal_pipeline.rollups.models import Model
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

DAY = date.today() - timedelta(days=2)
MOST = 20
# Each way to spread up to MOST people over four systems, as an app of its own, whose people each
# clicked once.
SPREADS = """
with spread as (
    select row_number() over () as number, array[a, b, c, d] as people
    from generate_series(0, {most}) as a, generate_series(0, {most}) as b, generate_series(0, {most}) as c,
        generate_series(0, {most}) as d
    where a + b + c + d between 1 and {most}
)
insert into signal.daily_os_activity (activity_date, app_name, event_type, os_family, events, users, sessions)
select '{day}', number::text, 'picked', chr(96 + place::int), users, users, users
from spread cross join unnest(people) with ordinality as system (users, place)
where users > 0
"""
TOTALS = """
insert into signal.daily_app_activity (activity_date, app_name, event_type, events, users, sessions)
select activity_date, app_name, event_type, sum(events), sum(users), sum(sessions)
from signal.daily_os_activity group by activity_date, app_name, event_type
"""
Spread = dict[str, int]


def _by_app(report: Report, key: str) -> dict[str, Spread]:
    rows: dict[str, Spread] = defaultdict(dict)
    for row in report.rows.to_dict("records"):
        rows[row["app_name"]][str(row.get(key, ""))] = int(row["users"])
    return rows


def test_no_count_of_a_few_people_follows_from_the_rule(
    database: Database, connection: Connection, models: dict[str, Model]
) -> None:
    """Take all spreads that give the same answers.

    In them a hidden cell has more than one number, up to five or more.
    """
    connection.execute("insert into signal.days (day) values (%s) on conflict do nothing", [DAY])
    connection.execute(SPREADS.format(most=MOST, day=DAY))  # type: ignore[arg-type]
    connection.execute(TOTALS)
    truth = _by_app(
        rollup_report(database, models, "os", DAY, DAY, event_type="picked"), "os_family"
    )
    shown = _by_app(
        rollup_report(database, models, "os", DAY, DAY, event_type="picked", hide_small=True),
        "os_family",
    )
    totals = _by_app(
        rollup_report(database, models, "app", DAY, DAY, event_type="picked", hide_small=True), ""
    )
    alike: dict[object, list[Spread]] = defaultdict(list)
    for app, spread in truth.items():
        if app not in totals:
            assert app not in shown
            continue
        assert shown.get(app, {}).items() <= spread.items()
        alike[totals[app][""], frozenset(spread), frozenset(shown.get(app, {}).items())].append(
            spread
        )
    hidden_somewhere = 0
    for (_, systems, seen), spreads in alike.items():
        hidden = systems - {system for system, _ in seen}
        hidden_somewhere += bool(hidden)
        for system in hidden:
            counts = {spread[system] for spread in spreads}
            assert len(counts) > 1, (seen, spreads)
        assert not hidden or len(hidden) > 1
        assert all(users >= 5 for _, users in seen)
        assert all(
            not hidden or sum(spread[system] for system in hidden) >= 5 for spread in spreads
        )
    assert hidden_somewhere > 50
    assert any(len(seen) == 4 for _, _, seen in alike)


def test_without_a_small_cell_nothing_is_left_out(
    database: Database, connection: Connection, models: dict[str, Model]
) -> None:
    connection.execute("insert into signal.days (day) values (%s) on conflict do nothing", [DAY])
    for kind in ("app", "os"):
        column, value = (", os_family", ", 'iOS'") if kind == "os" else ("", "")
        for event_type in ("a", "b", "(all)"):
            connection.execute(
                f"insert into signal.daily_{kind}_activity (activity_date, app_name, event_type{column}, events, users,"  # type: ignore[arg-type]
                f" sessions) values ('{DAY}', 'cms', '{event_type}'{value}, 9, 5, 5)"
            )
        for by in ("day", "week", "total"):
            report = rollup_report(database, models, kind, DAY, DAY, by=by, hide_small=True)  # type: ignore[arg-type]
            assert (len(report.rows), report.left_out) == (3, 0)


@pytest.fixture
def days(fill: Fill, build: Build) -> list[date]:
    """Three built days, on which fewer and fewer people came."""
    days = [START_DATE + timedelta(days=number) for number in range(3)]
    for count, day in zip((300, 60, 25), days, strict=True):
        fill(day, count)
        build(day)
    return days


def test_a_row_that_is_shown_is_the_row_that_an_admin_sees(
    database: Database, models: dict[str, Model], days: list[date]
) -> None:
    """Nothing else changes: every row is shown, or counted as left out."""
    window = days[0], days[-1]
    questions = [
        (
            rollup_report(database, models, kind, *window, by=by, hide_small=hide)
            for hide in (False, True)
        )  # type: ignore[arg-type]
        for kind in ("app", "device", "route", "browser", "os")
        for by in ("day", "week", "total")
    ] + [
        (raw_report(database, list(keys), {}, *window, hide_small=hide) for hide in (False, True))
        for key in ("app", "event-type", "route", "device", "browser", "os")
        for keys in ((key,), ("day", key), ("day", "app", "event-type", key))
        if len(set(keys)) == len(keys)
    ]
    shown = left_out = 0
    for whole, less in questions:
        rows, fewer = (set(map(tuple, report.rows.to_numpy().tolist())) for report in (whole, less))
        assert fewer <= rows
        assert len(fewer) + less.left_out == len(rows)
        shown, left_out = shown + len(fewer), left_out + less.left_out
    assert shown > 50
    assert left_out > 50


def test_raw_events_and_rollups_leave_out_the_same(
    database: Database, models: dict[str, Model], days: list[date]
) -> None:
    for kind in ("app", "device", "route", "browser", "os"):
        column = [] if kind == "app" else [KEYS[kind].column]
        keys = ["day", "app", "event-type", *([] if kind == "app" else [kind])]
        raw = raw_report(database, keys, {}, days[0], days[-1], hide_small=True)
        rollup = rollup_report(database, models, kind, days[0], days[-1], hide_small=True)
        names = ["activity_date", "app_name", "event_type", *column, "events", "users"]
        of_types = rollup.rows[rollup.rows.event_type != "(all)"]
        assert set(map(tuple, raw.rows[names].to_numpy())) == set(
            map(tuple, of_types[names].to_numpy())
        )


def test_the_report_command_leaves_out_the_same(
    database: Database,
    models: dict[str, Model],
    days: list[date],
    environment: Settings,
    tmp_path: Path,
) -> None:
    window = ("--from", str(days[0]), "--to", str(days[-1]), "--format", "json", "--hide-small")
    for arguments, report in (
        (("os",), rollup_report(database, models, "os", days[0], days[-1], hide_small=True)),
        (
            ("--group-by", "day,os"),
            raw_report(database, ["day", "os"], {}, days[0], days[-1], hide_small=True),
        ),
    ):
        done = run_command("report", *arguments, *window, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert len(json.loads(done.stdout)) == len(report.rows)
        assert report.left_out
        assert f"{report.left_out:,} row(s) are left out" in done.stderr
    for by_entity in (
        ("entity",),
        ("--group-by", "entity-type"),
        ("--group-by", "app", "--where", "entity-type=journey"),
    ):
        refused = run_command("report", *by_entity, *window, cwd=tmp_path)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "cannot be left out" in refused.stderr
