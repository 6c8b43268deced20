"""The usage page says what the rollups say, leaves out what the wire leaves out, and runs nothing."""

from __future__ import annotations

import re
import stat
from datetime import date, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import get_args

import pytest
from conftest import START_DATE, Build, Fill
from hypothesis import given
from hypothesis import strategies as st
from support.commands import error_of, run_command
from support.days import days_ago
from support.page import Page
from support.reports import frame
from support.traffic import line

from signal_pipeline.api.identity.rate_limit import EVENTS_PER_MINUTE
from signal_pipeline.catalogue.load import load_catalogue
from signal_pipeline.days.calendar import WindowError
from signal_pipeline.events.event import Reason
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.reports.of_rollups import rollup_report
from signal_pipeline.reports.page.render import usage_page
from signal_pipeline.reports.page.split import Cell, Split
from signal_pipeline.reports.page.words import REASONS, STATES
from signal_pipeline.reports.report_errors import QuestionError
from signal_pipeline.rollups.models import Model
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

FIRST, LAST = days_ago(4), days_ago(2)
DAYS = [FIRST, FIRST + timedelta(days=1), LAST]
Models = dict[str, Model]


@pytest.fixture
def filled(fill: Fill, build: Build) -> None:
    """Three days with numbers of all sizes."""
    for day in DAYS:
        fill(day, 130)
        build(day)


def page_of(
    database: Database,
    models: Models,
    first: date = FIRST,
    last: date = LAST,
    app: str | None = None,
    for_admins: bool = False,
) -> Page:
    html = usage_page(
        database, models, load_catalogue(), first, last, app=app, for_admins=for_admins
    )
    return Page(html)


def test_an_admins_page_has_the_numbers_of_the_rollups(
    filled: None, database: Database, models: Models
) -> None:
    files = page_of(database, models, for_admins=True).csv_files
    for kind, column, name in [
        ("app", "event_type", "features"),
        ("route", "route", "routes"),
        ("device", "device_type", "devices"),
        ("browser", "browser_family", "browsers"),
        ("os", "os_family", "systems"),
    ]:
        rows = frame(rollup_report(database, models, kind, FIRST, LAST))
        rows = rows[rows["app_name"] == "cms"]
        if kind == "app":
            rows = rows[rows["event_type"] != "(all)"]
        else:
            rows = rows[rows["event_type"] == "(all)"]
        expected = {
            value: (str(group["events"].sum()), str(group["users"].max()))
            for value, group in rows.groupby(column)
        }
        found = files[f"cms-{name}.csv"]
        key = column if kind == "app" else {"os": "system"}.get(kind, kind)
        assert {row[key]: (row["events"], row["users_busiest_day"]) for row in found} == expected
        assert {row["trust"] for row in found} == {"exact"}
        daily = rows.groupby(column)["users"].apply(list).to_dict()
        for row in found:  # A day without a row is a known zero.
            people = [*daily[row[key]], *[0] * (3 - len(daily[row[key]]))]
            assert float(row["users_median_day"]) == median(people)


def test_what_the_wire_leaves_out_is_not_on_the_page(
    filled: None, database: Database, models: Models
) -> None:
    page, whole = page_of(database, models), page_of(database, models, for_admins=True)
    shown = rollup_report(database, models, "route", FIRST, LAST, hide_small=True)
    assert shown.left_out > 0
    rows = frame(shown)[frame(shown)["event_type"] != "(all)"]
    expected = {
        (str(app), str(route)): str(group["events"].sum())
        for (app, route), group in rows.groupby(["app_name", "route"])
    }
    found = {
        (row["app_name"], row["route"]): row["events"]
        for name, each in page.csv_files.items()
        if name.endswith("-routes.csv")
        for row in each
    }
    assert found == expected
    entities = {
        row["entity_id"]
        for name, each in whole.csv_files.items()
        if name.endswith("-entities.csv")
        for row in each
    }
    assert entities and all(each in whole.html for each in entities)
    assert not any(each in page.html for each in entities)
    # Accepted less what is shown would be what is left out.
    assert "books.csv" in whole.csv_files and "books.csv" not in page.csv_files
    assert "For admins only." in whole.text and "For admins only." not in page.text


def test_a_sum_without_small_numbers_says_that_there_can_be_more(
    ingest_at: object, database: Database, models: Models, build: Build
) -> None:
    ingest: Ingest = ingest_at(datetime.fromisoformat(f"{LAST}T23:59:59+00:00"))  # type: ignore[operator]
    at = datetime.fromisoformat(f"{LAST}T10:00:00+00:00")
    kinds = {"journey_create_clicked": 30, "editor_analytics_overlay_opened": 2}
    ingest.ingest_lines(
        [
            line(at, eventType=kind, ip=f"10.0.0.{person}")
            for kind, people in kinds.items()
            for person in range(people)
        ]
    )
    build(LAST)
    page = page_of(database, models, LAST, LAST)
    features = page.csv_files["journeys-admin-features.csv"]
    assert [(row["event_type"], row["events"]) for row in features] == [
        ("journey_create_clicked", "30")
    ]
    assert "≥\u202f30" in page.text
    (day,) = page.csv_files["journeys-admin-people-a-day.csv"][-1:]
    assert (day["users"], day["events"], day["state"]) == ("", "", "fresh, left out")
    # It is not certain that nobody used it, so it is not among the unused.
    unused = page.text.partition("Not used by anybody")[2].partition(".")[0]
    assert "editor_analytics_overlay_opened" not in unused
    assert "editor_helpscout_overlay_opened" in unused


def test_an_unknown_day_is_never_zero(
    fill: Fill, build: Build, database: Database, models: Models
) -> None:
    fill(LAST, 300)
    build(LAST)
    fill(DAYS[1], 300)  # Never built.
    before = START_DATE - timedelta(days=3)
    page = page_of(database, models, DAYS[1], LAST)
    rows = {row["activity_date"]: row for row in page.csv_files["cms-people-a-day.csv"]}
    assert (rows[str(DAYS[1])]["users"], rows[str(DAYS[1])]["state"]) == ("", "unknown")
    assert rows[str(LAST)]["users"] != ""
    assert all("unknown on 1 day" in row["trust"] for row in page.csv_files["cms-features.csv"])
    assert f"{DAYS[1]}" in page.text.partition("How far to trust it")[2]
    assert "were never built, so they are unknown" in page.text
    early = page_of(database, models, before, START_DATE + timedelta(days=1))
    assert "are before the start date" in early.text
    assert "Not used by anybody" not in early.text


def test_without_a_number_nothing_is_called_exact(
    fill: Fill, database: Database, models: Models
) -> None:
    fill(LAST)  # Never built.
    text = page_of(database, models, LAST, LAST).text
    assert "were never built" in text
    assert "no number to trust or to doubt" in text and "is exact" not in text


@pytest.mark.parametrize(
    ("first", "last", "complaint"),
    [
        (LAST, FIRST, "is after the last"),
        (date(1, 1, 1), date(1, 1, 5), "the calendar itself ends there"),
        (LAST, date.max, "at most 3,660 days"),
        (date(9999, 12, 1), date.max, "the calendar itself ends there"),
    ],
)
def test_a_window_that_no_page_can_show(
    first: date, last: date, complaint: str, database: Database, models: Models
) -> None:
    with pytest.raises((QuestionError, WindowError), match=complaint):
        page_of(database, models, first, last)


def test_a_label_is_on_the_page_with_its_days_and_its_meaning(
    filled: None, database: Database, models: Models, connection: Connection
) -> None:
    connection.execute(
        "insert into signal.address_gaps (day, app_name, missing) values (%s, 'cms', 200)",
        [DAYS[0]],
    )
    connection.execute(
        "insert into signal.day_keys (day, key_id, hash_rules)"
        " select day, 'ffffffff', hash_rules from signal.day_keys where day = any(%s)",
        [DAYS[1:]],
    )
    page = page_of(database, models)
    trust = " ".join(page.text.partition("whose numbers carry a label")[2].split())
    assert f"{DAYS[0]} degraded cms every figure" in _spaced(page)
    assert f"{DAYS[1]} to {DAYS[2]} over-counted every app every figure" in _spaced(page)
    assert STATES["degraded"] in trust and STATES["over-counted"] in trust
    (feature, *_) = page.csv_files["cms-features.csv"]
    assert {"degraded on 1 day", "over-counted on 2 days"} <= {*feature["trust"].split("; ")}


def _spaced(page: Page) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", page.html).split())


HOSTILE = [
    "/</script><script>alert(1)</script>",
    "/<img src=x onerror=alert(1)>",
    '/"onload="alert(1)',
    "/{{ 7*7 }}{% raw %}",
    "/gap\u00a0here",
    "/&lt;b&gt;' style='x",
]


def test_a_hostile_route_is_text(
    ingest: Ingest, build: Build, database: Database, models: Models
) -> None:
    at = datetime.fromisoformat(f"{LAST}T10:00:00+00:00")
    lines = [line(at, route=route, ip=f"10.0.0.{n}") for route in HOSTILE for n in range(9)]
    assert ingest.ingest_lines(lines).accepted == len(lines)
    build(LAST)
    page = page_of(database, models, LAST, LAST, for_admins=True)
    stored = [row["route"] for row in page.csv_files["journeys-admin-routes.csv"]]
    assert len({*stored}) >= 5
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "img", "iframe", "object", "embed", "form", "base", "b", "use"}
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("href", "src", "xlink:href"):
            value = attributes.get(name, "#")
            assert value.startswith(("#", "data:text/csv;", "data:,"))
    assert "\u00a0" not in page.html and r"/gap\xa0here" in page.text
    assert "7*7" in page.text
    # Each of them is in the table and in the chart.
    for route in stored:
        if "\u00a0" not in route:
            assert page.text.count(route) >= 2, route


CELLS = st.dictionaries(
    st.tuples(st.sampled_from(DAYS), st.sampled_from(["x", "y"]), st.sampled_from(["", "r"])),
    st.tuples(st.integers(1, 99), st.integers(1, 99), st.booleans()),
)


@given(CELLS, st.sets(st.sampled_from(DAYS)))
def test_a_day_is_a_number_or_has_its_reason(
    cells: dict[tuple[date, str, str], tuple[int, int, bool]], unknown: set[date]
) -> None:
    known = {key: cell for key, cell in cells.items() if key[0] not in unknown}
    split = Split(
        DAYS,
        [
            Cell(day, "app", kind, value, events, users)
            for (day, kind, value), (events, users, shown) in known.items()
            if shown
        ],
        [(day, "app", kind, value) for (day, kind, value), cell in known.items() if not cell[2]],
        {(day, "app"): ["unknown" if day in unknown else "fresh"] for day in DAYS},
    )
    for kind in ("x", "y"):
        for value in ("", "r"):
            count = split.count("app", event_type=kind, value=value)
            figures = split.by_day("app", kind, value)
            assert count.events == sum(figure.events or 0 for figure in figures)
            assert count.is_lower_bound == any(figure.people is None for figure in figures)
            for figure in figures:
                assert (figure.people is None) == bool({"unknown", "left out"} & {*figure.labels})
                if figure.people == 0:
                    assert (figure.day, kind, value) not in cells


def test_every_reason_of_a_drop_is_explained() -> None:
    assert REASONS.keys() == {*get_args(Reason)}
    assert f"more than {EVENTS_PER_MINUTE} events a minute" in REASONS["rate_limited"]


def test_a_few_drops_are_named_without_their_number(
    filled: None, database: Database, models: Models, connection: Connection
) -> None:
    connection.execute(
        "insert into signal.books (day, app_name, event_type, outcome, reason, events) values"
        " (%s, 'cms', '(other)', 'dropped', 'bot', 4), (%s, 'cms', '(other)', 'dropped',"
        " 'too_late', 5)",
        [LAST, LAST],
    )
    few = {row["reason"]: row for row in page_of(database, models).csv_files["drops.csv"]}
    assert (few["bot"]["events"], few["bot"]["note"]) == ("", "under 5")
    assert few["too_late"]["events"] == "5"
    whole = page_of(database, models, for_admins=True).csv_files["drops.csv"]
    assert {row["reason"]: row["events"] for row in whole} == {"bot": "4", "too_late": "5"}


def test_the_command_writes_a_page(filled: None, environment: Settings, tmp_path: Path) -> None:
    window = ("--from", FIRST, "--to", LAST)
    printed = run_command("report", "--format", "html", *window, cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    assert Page(printed.stdout).csv_files
    options = ("--app", "cms", "--for-admins", "--out", "page.html")
    done = run_command("report", "--format", "html", *window, *options, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    page = tmp_path / "page.html"
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    apps = {row["app_name"] for row in Page(page.read_text()).csv_files["cms-features.csv"]}
    assert apps == {"cms"} and "journeys-admin-features.csv" not in page.read_text()
    for wrong, code in [
        (("route", "--format", "html"), 2),
        (("--format", "html", "--by", "week"), 2),
        (("app", "--for-admins"), 2),
        (("--format", "html", "--app", "no-such-app"), 2),
        (("--format", "html", "--hide-small", "--for-admins"), 2),
        (("--format", "html", "--out", "no/such/folder.html"), 1),
    ]:
        refused = run_command("report", *wrong, *window, cwd=tmp_path)
        assert refused.returncode == code, refused.stderr
        error_of(refused.stderr)
