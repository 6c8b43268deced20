"""The query `eventStats` over real HTTP, against counts made by hand from the same events."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import pytest
from conftest import START_DATE
from support.days import today, tomorrow
from support.queries import DAYS, STATS, WINDOW, Row, read_events, read_stats
from support.wire import Server, code

from signal_pipeline.api.graphql.context import RequestContext, Services
from signal_pipeline.api.graphql.stats import event_stats, parse_stats_question
from signal_pipeline.api.graphql.types import StatsBy
from signal_pipeline.api.identity.callers import ApiKey
from signal_pipeline.api.refusals import ApiError
from signal_pipeline.postgres.database import Connection, Database

pytestmark = pytest.mark.embedded_only


def test_a_rollup_by_day_with_its_states(api: Server, lines: list[Row]) -> None:
    found = read_stats(api, by="APP", eventType="journey_create_clicked")
    assert found["suppressedRows"] == 0
    assert [
        (row["day"], row["events"], row["users"], row["sessions"], row["states"])
        for row in found["rows"]
    ] == [
        (str(DAYS[0]), 7, 7, 4, ["FRESH"]),
        (str(DAYS[1]), 7, 7, 4, ["FRESH"]),
        (str(DAYS[2]), 7, 7, 4, ["STALE"]),
    ]


def test_sums_over_a_window_are_named_as_sums(api: Server, lines: list[Row]) -> None:
    (row,) = read_stats(api, by="APP", period="TOTAL", eventType="(all)")["rows"]
    assert (row["day"], row["events"], row["users"], row["summedDailyUsers"]) == (
        None,
        27,
        None,
        21,
    )
    assert (row["sessions"], row["summedDailySessions"]) == (None, 12)


def test_the_sessions_of_one_day_are_also_their_sum(api: Server, lines: list[Row]) -> None:
    day = str(DAYS[0])
    by_day = read_stats(api, groupBy=["DAY", "APP"], **{"from": day, "to": day})["rows"]
    assert [(row["sessions"], row["summedDailySessions"]) for row in by_day] == [(4, 4)]
    assert read_stats(api, groupBy=["APP"], **{"from": day, "to": day})["rows"] == by_day


def test_a_sum_that_graphql_cannot_say_is_refused(
    api: Server, lines: list[Row], rows: Connection
) -> None:
    """Ten million events a day reach it within a year."""
    largest = 2**31 - 1
    enlarge = (
        "update signal.daily_app_activity set events = events + %s where activity_date = %s"
        " and event_type = '(all)'"
    )
    rows.execute(enlarge, [largest - 9, DAYS[0]])
    try:
        refused = api.call(
            STATS,
            {**WINDOW, "by": "APP", "period": "TOTAL", "eventType": "(all)"},
            uid="boss-1",
        ).json()
        assert code(refused) == "BAD_USER_INPUT"
        assert "the largest Int of GraphQL: ask for fewer days" in refused["errors"][0]["message"]
    finally:
        rows.execute(enlarge, [9 - largest, DAYS[0]])


def test_raw_counts(api: Server, lines: list[Row]) -> None:
    """Raw counts are exact, and sessions are distinct over the window."""
    (row,) = read_stats(api, groupBy=["APP"])["rows"]
    assert (row["events"], row["users"], row["summedDailyUsers"], row["sessions"]) == (
        28,
        None,
        21,
        4,
    )
    assert row["states"] == ["FRESH"]
    days = read_stats(api, groupBy=["DAY", "EVENT_TYPE"], filter={"deviceType": "mobile"})["rows"]
    assert sorted((each["day"], each["events"], each["users"]) for each in days) == [
        (str(d), 1, 1) for d in DAYS
    ]


def test_raw_counts_agree_with_a_count_by_hand(api: Server, lines: list[Row]) -> None:
    expected: dict[tuple[str, str], int] = defaultdict(int)
    for each in lines:
        expected[each["createdAt"][:10], each["route"]] += 1
    rows = read_stats(api, groupBy=["DAY", "ROUTE"])["rows"]
    assert {(row["day"], row["route"]): row["events"] for row in rows} == expected


def test_unknown_rollup(
    api_database: Database,
) -> None:
    """A rollup that this server does not have is not reported as purged."""
    with ThreadPoolExecutor(1) as readers:
        services = Services(None, None, None, api_database, {}, None, readers, None)  # type: ignore[arg-type] - not asked
        context = RequestContext(services, ApiKey("dashboard"), None, None, None)
        question = parse_stats_question(DAYS[0], today(), StatsBy.APP, None, None, {})
        with pytest.raises(ApiError, match="no such rollup"):
            asyncio.run(event_stats(context, question))


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"by": "APP", "groupBy": ["APP"]},
        {"groupBy": []},
        {"by": "APP", "from": str(DAYS[2]), "to": str(DAYS[0])},
        {"by": "APP", "filter": {"route": "/"}},
        {"groupBy": ["APP"], "period": "WEEK"},
        {"by": "APP", "app": "cms", "filter": {"appName": "journeys-admin"}},
        {"groupBy": ["APP"], "eventType": "", "filter": {"eventType": "journey_create_clicked"}},
        {"groupBy": ["APP"], "eventType": "(all)"},
        {"groupBy": ["EVENT_TYPE"], "filter": {"eventType": "(all)"}},
    ],
)
def test_senseless_questions(api: Server, lines: list[Row], variables: Row) -> None:
    """Arguments that contradict each other are refused."""
    assert code(api.call(STATS, {**WINDOW, **variables}, uid="boss-1").json()) == "BAD_USER_INPUT"


@pytest.mark.parametrize("form", ["%Y%m%d", "%G-W%V-%u", "%Y-%m-%dT00:00:00"])
def test_a_date_of_another_form_is_refused(api: Server, lines: list[Row], form: str) -> None:
    """A week must not be counted as one of its days."""
    answer = api.call(STATS, {**WINDOW, "by": "APP", "from": f"{DAYS[0]:{form}}"}, uid="boss-1")
    assert code(answer.json()) == "GRAPHQL_VALIDATION_FAILED"


def test_empty_text_as_filter(api: Server, lines: list[Row]) -> None:
    """An empty text matches nothing; null does not filter."""
    for asked in (
        {"by": "APP", "app": ""},
        {"by": "APP", "eventType": ""},
        {"groupBy": ["APP"], "app": ""},
    ):
        assert read_stats(api, **asked)["rows"] == []
    for same in (
        {"app": None, "eventType": None},
        {"app": "journeys-admin", "filter": {"appName": "journeys-admin"}},
    ):
        assert (
            read_stats(api, **{"groupBy": ["DAY"], **same})["rows"]
            == read_stats(api, groupBy=["DAY"])["rows"]
        )


@pytest.mark.parametrize("uid", ["boss-1", "analyst-1"])
@pytest.mark.parametrize(
    ("question", "name"),
    [
        ({"by": "APP", "eventType": "journey_create_cliked"}, "event-type"),
        ({"by": "DEVICE", "app": "CMS"}, "app"),
        ({"groupBy": ["APP"], "filter": {"deviceType": "phone"}}, "device"),
        ({"groupBy": ["APP"], "app": "(unknown)"}, "app"),
        ({"groupBy": ["APP"], "eventType": "(other)"}, "event-type"),
        ({"groupBy": ["APP"], "filter": {"deviceType": "(none)"}}, "device"),
    ],
)
def test_a_value_that_no_event_can_have_is_no_true_zero(
    api: Server, lines: list[Row], uid: str, question: Row, name: str
) -> None:
    found = read_stats(api, uid, **question)
    assert found["rows"] == []
    (note,) = [note for note in found["notes"] if note.startswith("no ")]
    assert note.startswith(f"no {name} ") and ": choose from " in note


def test_a_value_that_events_can_have_gets_no_note(api: Server, lines: list[Row]) -> None:
    for asked in (
        {"by": "APP", "eventType": "editor_helpscout_overlay_opened"},
        {"groupBy": ["APP"], "filter": {"deviceType": "tablet", "route": "/nowhere"}},
    ):
        found = read_stats(api, **asked)
        assert found["rows"] == []
        assert not [note for note in found["notes"] if note.startswith("no ")]


def test_ends_of_the_calendar(api: Server, lines: list[Row]) -> None:
    """The first and the last day of the calendar are days without events."""
    for variables in ({"by": "APP", "period": "TOTAL"}, {"groupBy": ["APP", "EVENT_TYPE"]}):
        whole = read_stats(api, **{"from": "0001-01-01", "to": "9999-12-31", **variables})
        assert sorted(row["events"] for row in whole["rows"]) == sorted(
            row["events"]
            for row in read_stats(api, **{"from": str(DAYS[0]), "to": str(today()), **variables})[
                "rows"
            ]
        )
        assert (
            read_stats(api, **{"from": "0001-01-01", "to": "0001-01-02", **variables})["rows"] == []
        )
        assert (
            read_stats(api, **{"from": "9999-12-30", "to": "9999-12-31", **variables})["rows"] == []
        )


def test_today_is_partial(api: Server, lines: list[Row]) -> None:
    assert api.create(uid="writer-1")["data"]["eventCreate"]
    (row,) = read_stats(api, **{"from": str(today()), "to": str(today())}, groupBy=["APP"])["rows"]
    assert (row["day"], row["states"], row["users"]) == (str(today()), ["PARTIAL"], 1)


@pytest.mark.parametrize("uid", ["boss-1", "analyst-1"])
@pytest.mark.parametrize(
    "question", [{"by": "APP"}, {"by": "ROUTE", "period": "WEEK"}, {"groupBy": ["APP"]}]
)
def test_unknown_days(api: Server, lines: list[Row], uid: str, question: Row) -> None:
    """Days before the start date and days to come are named in the notes."""
    api.create(uid="writer-1")  # An event of today, which a window in the future must not show.
    before, after = START_DATE - timedelta(days=1), tomorrow()
    past = read_stats(api, uid, **{"from": "0001-01-01", "to": str(before), **question})
    days = (START_DATE - date.min).days
    note = (
        f"{days:,} day(s) are before the start date {START_DATE} and unknown: 0001-01-01 to"
        f" {before}"
    )
    assert past == {"rows": [], "suppressedRows": 0, "notes": [note]}
    to_come = read_stats(api, uid, **{"from": str(after), "to": "9999-12-31", **question})
    note = (
        f"{(date.max - today()).days:,} day(s) are still to come and unknown: {after} to 9999-12-31"
    )
    assert to_come == {"rows": [], "suppressedRows": 0, "notes": [note]}
    both = read_stats(api, uid, **{"from": str(before), "to": str(after), **question})
    assert [each for each in both["notes"] if "unknown" in each and f": {after}" in each]
    assert [each for each in both["notes"] if each.endswith(f"and unknown: {before}")]
    assert all(
        "PARTIAL" in row["states"]
        for row in both["rows"]
        if row["day"] is None and row["week"] is None
    )


def test_purged_days(api: Server, lines: list[Row], rows: Connection) -> None:
    """A rollup labels them; raw events are not counted over them."""
    rows.execute("update signal.days set state = 'purged' where day = %s", [DAYS[0]])
    try:
        states = {
            row["day"]: row["states"]
            for row in read_stats(api, by="APP", eventType="(all)")["rows"]
        }
        assert states[str(DAYS[0])] == ["PURGED"]
        refused = api.call(STATS, {**WINDOW, "groupBy": ["APP"]}, uid="boss-1").json()
        assert code(refused) == "BAD_USER_INPUT"
        assert "are purged" in refused["errors"][0]["message"]
        assert all(row["createdAt"][:10] != str(DAYS[0]) for row in read_events(api))
    finally:
        rows.execute(
            "alter table signal.days disable trigger purged_is_final"
        )  # Only the test opens a day again.
        rows.execute("update signal.days set state = 'open' where day = %s", [DAYS[0]])
        rows.execute("alter table signal.days enable trigger purged_is_final")
