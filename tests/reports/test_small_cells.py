"""Small cells below admin.

Even if one knows the rule and every answer, one learns no count of one to four people.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from random import Random, SystemRandom

import pytest
from conftest import START_DATE, Build, Fill
from support.commands import run_command
from support.days import days_ago
from support.reports import frame

from faults.suppression_questions import impossible_machines
from faults.suppression_solver import System
from faults.suppression_world import SEATS
from signal_pipeline.postgres.database import Connection, Database, DatabaseError
from signal_pipeline.reports.dimensions import KEYS
from signal_pipeline.reports.of_raw_events import raw_report
from signal_pipeline.reports.of_rollups import rollup_report
from signal_pipeline.reports.report import Report
from signal_pipeline.reports.small_cells import can_hide_small
from signal_pipeline.rollups.declared_tests import Unique
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

DAY = days_ago(2)
MOST = 20
# Each way to spread up to MOST people over four values of a split, as an app of its own, whose
# people each clicked once.
SPREADS = """
with spread as (
    select row_number() over () as number, array[a, b, c, d] as people
    from generate_series(0, {most}) as a, generate_series(0, {most}) as b, generate_series(0, {most}) as c,
        generate_series(0, {most}) as d
    where a + b + c + d between 1 and {most}
)
insert into signal.daily_{kind}_activity
    (activity_date, app_name, event_type, {column}, events, users, sessions)
select '{day}', number::text, 'picked', chr(96 + place::int), users, users, users
from spread cross join unnest(people) with ordinality as value (users, place)
where users > 0
"""
TOTALS = """
insert into signal.daily_app_activity (activity_date, app_name, event_type, events, users, sessions)
select activity_date, app_name, event_type, sum(events), sum(users), sum(sessions)
from signal.daily_{kind}_activity group by activity_date, app_name, event_type
"""
Spread = dict[str, int]


def _by_app(report: Report, key: str) -> dict[str, Spread]:
    rows: dict[str, Spread] = defaultdict(dict)
    for row in report.rows.records:
        rows[row["app_name"]][str(row.get(key, ""))] = int(row["users"])
    return rows


@pytest.mark.parametrize(("kind", "column"), [("route", "route"), ("os", "os_family")])
def test_no_count_of_a_few_people_follows_from_the_rule(
    database: Database, connection: Connection, models: Models, kind: str, column: str
) -> None:
    """Take all spreads that give the same answers.

    In them a hidden cell has more than one number, up to five or more.
    """
    connection.execute("insert into signal.days (day) values (%s) on conflict do nothing", [DAY])
    spreads_of_apps = SPREADS.format(most=MOST, day=DAY, kind=kind, column=column)
    connection.execute(spreads_of_apps)  # type: ignore[arg-type]
    connection.execute(TOTALS.format(kind=kind))  # type: ignore[arg-type]
    models = models.only(["daily_app_activity", f"daily_{kind}_activity"])  # The others are empty.
    truth = _by_app(rollup_report(database, models, kind, DAY, DAY, event_type="picked"), column)
    shown = _by_app(
        rollup_report(database, models, kind, DAY, DAY, event_type="picked", hide_small=True),
        column,
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
    for (_, values, seen), spreads in alike.items():
        hidden = values - {value for value, _ in seen}
        hidden_somewhere += bool(hidden)
        for value in hidden:
            counts = {spread[value] for spread in spreads}
            assert len(counts) > 1, (seen, spreads)
        assert not hidden or len(hidden) > 1
        assert all(users >= 5 for _, users in seen)
        assert all(not hidden or sum(spread[value] for value in hidden) >= 5 for spread in spreads)
    assert hidden_somewhere > 50
    assert any(len(seen) == 4 for _, _, seen in alike)


MACHINES = {"device": "device_type", "browser": "browser_family", "os": "os_family"}
Machines = Counter[tuple[str, str, str]]


def _random_machines(random: Random) -> Machines:
    seats = random.sample(SEATS, random.randint(1, len(SEATS)))
    people = random.choices(
        [seat[:3] for seat in seats], [seat[-1] for seat in seats], k=random.randint(1, 60)
    )
    return Counter(people)


def test_nothing_small_follows_from_device_browser_and_system_together(
    database: Database, connection: Connection, models: Models
) -> None:
    """Phones are iOS and Android, desktops macOS and Windows: the splits are parts of each other.

    By system 20, 6 and 3, and by device 20 and 9: iOS and the phones give Android.
    """
    seed = SystemRandom().randrange(10**6)
    known: Machines = Counter(
        {
            ("desktop", "Chrome", "macOS"): 20,
            ("mobile", "Safari", "iOS"): 6,
            ("mobile", "Chrome", "Android"): 3,
        }
    )
    # One of each would be four people: only three more, so that each small cell were under five.
    few: Machines = Counter(
        {
            ("desktop", "Chrome", "macOS"): 4,
            ("desktop", "Chrome", "Windows"): 1,
            ("mobile", "Chrome", "iOS"): 1,
            ("tablet", "Chrome", "iOS"): 1,
        }
    )
    random = Random(seed)
    worlds = {"known": known, "few": few} | {
        str(number): _random_machines(random) for number in range(150)
    }
    connection.execute("insert into signal.days (day) values (%s) on conflict do nothing", [DAY])
    for app, machines in worlds.items():
        for place, (kind, column) in enumerate(MACHINES.items()):
            split = Counter[str]()
            for machine, users in machines.items():
                split[machine[place]] += users
            for value, users in split.items():
                connection.execute(
                    f"insert into signal.daily_{kind}_activity (activity_date, app_name,"  # type: ignore[arg-type]
                    f" event_type, {column}, events, users, sessions)"
                    " values (%s, %s, 'picked', %s, %s, %s, %s)",
                    [DAY, app, value, users, users, users],
                )
    connection.execute(TOTALS.format(kind="os"))  # type: ignore[arg-type]
    models = models.only(f"daily_{kind}_activity" for kind in ("app", *MACHINES))
    admin, analyst = (
        {
            kind: _by_app(
                rollup_report(
                    database, models, kind, DAY, DAY, event_type="picked", hide_small=hide
                ),
                MACHINES.get(kind, ""),
            )
            for kind in ("app", *MACHINES)
        }
        for hide in (False, True)
    )
    assert not any("known" in analyst[kind] for kind in MACHINES)
    small_cells = shown = 0
    for app in worlds:
        shown += len(analyst["os"].get(app, {}))
        dimensions = {column: sorted(admin[kind].get(app, {})) for kind, column in MACHINES.items()}
        system = System(dimensions, impossible_machines(dimensions))
        system.sums |= {frozenset(): users for users in analyst["app"].get(app, {}).values()}
        for kind, column in MACHINES.items():
            for value, users in admin[kind][app].items():
                cell = frozenset({(column, value)})
                system.known_to_exist.add(cell)
                if value in analyst[kind].get(app, {}):
                    system.sums[cell] = users
        for value, users in admin["os"][app].items():
            if users < 5:
                small_cells += 1
                least, most = system.bounds(frozenset({("os_family", value)}))
                assert most is None or (least < most and most >= 5), (seed, worlds[app], value)
    assert small_cells > 100
    assert shown > 10


def test_without_a_small_cell_nothing_is_left_out(
    database: Database, connection: Connection, models: Models
) -> None:
    connection.execute("insert into signal.days (day) values (%s) on conflict do nothing", [DAY])
    models = models.only(["daily_app_activity", "daily_os_activity"])
    for kind in ("app", "os"):
        column, value = (", os_family", ", 'iOS'") if kind == "os" else ("", "")
        for event_type in ("a", "b", "(all)"):
            connection.execute(
                f"insert into signal.daily_{kind}_activity (activity_date, app_name, event_type{column}, events, users,"  # type: ignore[arg-type]
                f" sessions) values ('{DAY}', 'cms', '{event_type}'{value}, 9, 5, 5)"
            )
    for kind in ("app", "os"):
        for by in ("day", "week", "total"):
            report = rollup_report(database, models, kind, DAY, DAY, by=by, hide_small=True)  # type: ignore[arg-type]
            assert (len(frame(report)), report.left_out) == (3, 0)


@pytest.fixture
def days(fill: Fill, build: Build) -> list[date]:
    """Three built days, on which fewer and fewer people came."""
    days = [START_DATE + timedelta(days=number) for number in range(3)]
    for count, day in zip((300, 60, 25), days, strict=True):
        fill(day, count)
        build(day)
    return days


def test_a_row_that_is_shown_is_the_row_that_an_admin_sees(
    database: Database, models: Models, days: list[date]
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
        rows, fewer = (
            set(map(tuple, frame(report).to_numpy().tolist())) for report in (whole, less)
        )
        assert fewer <= rows
        assert len(fewer) + less.left_out == len(rows)
        shown, left_out = shown + len(fewer), left_out + less.left_out
    assert shown > 50
    assert left_out > 50


def test_raw_events_and_rollups_leave_out_the_same(
    database: Database, models: Models, days: list[date]
) -> None:
    for kind in ("app", "device", "route", "browser", "os"):
        column = [] if kind == "app" else [KEYS[kind].column]
        keys = ["day", "app", "event-type", *([] if kind == "app" else [kind])]
        raw = raw_report(database, keys, {}, days[0], days[-1], hide_small=True)
        rollup = rollup_report(database, models, kind, days[0], days[-1], hide_small=True)
        names = ["activity_date", "app_name", "event_type", *column, "events", "users"]
        of_types = frame(rollup)[frame(rollup).event_type != "(all)"]
        assert set(map(tuple, frame(raw)[names].to_numpy())) == set(
            map(tuple, of_types[names].to_numpy())
        )


def test_events_of_days_without_a_row_are_judged_too(
    database: Database, connection: Connection, days: list[date]
) -> None:
    """As on a cluster, where a day's first events can come after its row was looked for."""
    questions = [["day", "os"], ["os"], ["app", "event-type"], ["device", "browser"]]

    def answers() -> list[tuple[set[tuple[object, ...]], int]]:
        reports = (
            raw_report(database, q, {}, days[0], days[-1], hide_small=True) for q in questions
        )
        return [({tuple(row.values()) for row in each.records}, each.left_out) for each in reports]

    before = answers()
    assert all(left_out for _, left_out in before)
    connection.execute("set session_replication_role = replica")
    connection.execute("delete from signal.days where day = any(%s)", [days[1:]])
    assert answers() == before


def test_all_days_together_get_the_time_of_one_statement(
    database: Database, days: list[date], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server's bound holds for the whole answer, however many days it judges one by one."""
    clock = itertools.count(step=6).__next__
    monkeypatch.setattr("signal_pipeline.reports.small_cells.monotonic", clock)
    bounded = Database(database.url, statement_seconds=10)
    assert len(raw_report(bounded, ["os"], {}, days[0], days[0], hide_small=True).columns) == 4
    with pytest.raises(DatabaseError, match="took too long") as refused:
        raw_report(bounded, ["os"], {}, days[0], days[-1], hide_small=True)
    assert refused.value.sqlstate == "57014"
    raw_report(database, ["os"], {}, days[0], days[-1], hide_small=True)


def test_the_report_command_leaves_out_the_same(
    database: Database,
    models: Models,
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
        assert len(json.loads(done.stdout)) == len(frame(report))
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


def test_a_rollup_of_two_dimensions_is_for_admins_only(models: Models) -> None:
    device = models["daily_device_activity"]
    others = [test for test in device.tests if not isinstance(test, Unique)]
    both = replace(device, tests=(Unique((*device.grain, "browser_family")), *others))
    assert both.dimensions == ("device_type", "browser_family")
    changed = Models(both if each == device else each for each in models.values())
    for name in (device.name, "daily_app_activity"):
        assert (can_hide_small(models, name), can_hide_small(changed, name)) == (True, False)
