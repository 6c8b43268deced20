"""`events` and `eventStats` over real HTTP, against counts made by hand from the same events."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from conftest import SECRET, START_DATE
from support.traffic import CHROME, IPHONE, line
from support.wire import SERVICE_KEY, Server, code

from signal_pipeline.api.graphql.context import RequestContext, Services
from signal_pipeline.api.graphql.stats import event_stats, question
from signal_pipeline.api.graphql.types import StatsBy
from signal_pipeline.api.identity.callers import ApiKey
from signal_pipeline.api.refusals import ApiError
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.engine import open_engine
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

TODAY = datetime.now(UTC).date()
DAYS = [TODAY - timedelta(days=n) for n in (3, 2, 1)]
JOURNEY = str(uuid.UUID(int=7))
EVENTS = """query ($filter: EventFilter, $limit: Int) { events(filter: $filter, limit: $limit) {
  id createdAt appName eventType route entityType entityId sessionId deviceType clientEventId description userHash } }"""
STATS = """query ($by: StatsBy, $groupBy: [StatsKey!], $from: Date!, $to: Date!, $period: StatsPeriod, $app: String,
  $eventType: String, $filter: StatsFilter) { eventStats(by: $by, groupBy: $groupBy, from: $from, to: $to,
  period: $period, app: $app, eventType: $eventType, filter: $filter) { suppressedRows notes rows {
  day week appName eventType route entityId deviceType events users summedDailyUsers sessions summedDailySessions states
} } }"""
WINDOW = {"from": str(DAYS[0]), "to": str(DAYS[-1])}
Row = dict[str, Any]


def _at(day: date, hour: int, minute: int, **changes: object) -> Row:
    made: Row = json.loads(
        line(datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC), **changes)
    )
    return made


def _lines(number: int, day: date) -> list[Row]:
    """One day: seven people create from a template.

    Two of them also open the overlay of a journey.
    """
    overlay = {"eventType": "editor_analytics_overlay_opened", "route": "/journeys/[journeyId]"}
    about = {"entityType": "journey", "entityId": JOURNEY, "description": {"number": number}}
    return [
        *(
            _at(
                *(day, 10, person),
                ip=f"198.51.100.{person}",
                userAgent=IPHONE if person == 6 else CHROME,
                sessionId=str(uuid.UUID(int=person // 2 + 1)),
            )
            for person in range(7)
        ),
        *(
            _at(day, 11, person, ip=f"198.51.100.{person}", **overlay, **about)
            for person in range(2)
        ),
    ]


@pytest.fixture(scope="module")
def lines(
    api_database: Database, models: Models, tmp_path_factory: pytest.TempPathFactory
) -> list[Row]:
    """Events of three days; the rollups of the first two are fresh, that of the third is stale."""
    home = tmp_path_factory.mktemp("reading")
    settings = Settings(
        _env_file=None,
        database_url=api_database.url,
        env="development",
        home=home,
        salt_secret=SECRET,
    )  # type: ignore[call-arg, arg-type]
    made = [each for number, day in enumerate(DAYS) for each in _lines(number, day)]
    with closing(Ingest.from_settings(settings, api_database)) as ingest:
        assert ingest.ingest_lines([json.dumps(each).encode() for each in made]).accepted == len(
            made
        )
        engine = open_engine(settings, api_database)
        for day in DAYS:
            build_day(api_database, engine, models, day)
        late = _at(DAYS[2], 12, 0, ip="198.51.100.1")
        assert ingest.ingest_lines([json.dumps(late).encode()]).accepted == 1
    return [*made, late]


def read(
    api: Server, filters: dict[str, object] | None = None, limit: int | None = 1000
) -> list[Row]:
    """Raw events, as an admin."""
    answer = api.call(EVENTS, {"filter": filters, "limit": limit}, uid="boss-1").json()
    assert "errors" not in answer
    rows: list[Row] = answer["data"]["events"]
    return rows


def stats(api: Server, uid: str = "boss-1", **variables: object) -> Row:
    """`eventStats`; by default for an admin and the whole window."""
    answer = api.call(STATS, {**WINDOW, **variables}, uid=uid).json()
    assert "errors" not in answer, answer
    found: Row = answer["data"]["eventStats"]
    return found


def test_newest_first_and_complete(api: Server, lines: list[Row]) -> None:
    rows = read(api)
    assert [row["clientEventId"] for row in rows] == [
        each["clientEventId"]
        for each in sorted(lines, key=lambda each: each["createdAt"], reverse=True)
    ]
    assert rows[1]["description"] == {"number": 2}


def test_each_look_of_an_admin_is_audited_without_name_or_filter(
    api: Server, lines: list[Row], api_database: Database
) -> None:
    entries = (
        "select actor, details::text from signal.audit where action = 'read_events' order by id"
        " desc limit 2"
    )
    read(api, {"entityType": "journey", "entityId": JOURNEY})
    read(api, None, 3)
    with api_database.connect() as connection:
        second, first = connection.execute(entries).fetchall()
    assert [first[1], second[1]] == ['{"events": 6}', '{"events": 3}']
    assert first[0] == second[0]
    assert len(first[0]) == 32
    assert b"boss-1" not in first[0]


@pytest.mark.parametrize(
    ("limit", "count"), [(1, 1), (0, 1), (-5, 1), (9, 9), (12, 12), (None, 28), (10**9, 28)]
)
def test_the_limit_is_clamped_and_crosses_days(
    api: Server, lines: list[Row], limit: int, count: int
) -> None:
    assert len(lines) == 28
    assert [row["id"] for row in read(api, None, limit)] == [row["id"] for row in read(api)][:count]


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({}, 28),
        ({"appName": None, "route": None, "createdAtGte": None, "sessionId": None}, 28),
        ({"appName": "journeys-admin"}, 28),
        ({"appName": "cms"}, 0),
        ({"eventType": "editor_analytics_overlay_opened"}, 6),
        ({"entityType": "journey", "entityId": JOURNEY.upper()}, 6),
        ({"route": "/journeys/[journeyId]"}, 6),
        ({"deviceType": "mobile"}, 3),
        ({"sessionId": str(uuid.UUID(int=1))}, 6),
        ({"sessionId": "no-session"}, 0),
        ({"sessionId": str(uuid.UUID(int=0))}, 0),
        ({"sessionId": str(uuid.UUID(int=2**128 - 1)).upper()}, 0),
        ({"createdAtGte": f"{DAYS[1]}T00:00:00Z"}, 19),
        ({"createdAtGte": f"{DAYS[1]}T10:06:00+00:00"}, 13),
        ({"createdAtLte": f"{DAYS[0]}T10:06:00Z"}, 7),
        ({"createdAtLte": f"{DAYS[0]}t10:06:00z"}, 7),
        # Digits beyond microseconds are cut, as they are from an event's own time.
        ({"createdAtLte": f"{DAYS[0]}T10:05:59.9999999Z"}, 6),
        ({"createdAtLte": f"{DAYS[0]}T10:06:00.000000999Z"}, 7),
        ({"createdAtGte": f"{DAYS[1]}T10:06:00.000000999Z"}, 13),
        ({"createdAtLte": "9999-12-31T23:59:59.9999999Z"}, 28),
        ({"createdAtGte": f"{DAYS[0]}T12:00:00+02:00", "createdAtLte": f"{DAYS[0]}T10:00:00"}, 1),
        ({"createdAtGte": "0001-01-01T00:00:00Z", "createdAtLte": "9999-12-31T23:59:59Z"}, 28),
        ({"createdAtLte": "9999-12-31T23:59:59.999999Z"}, 28),
        ({"createdAtGte": "0001-01-01T00:00:00Z", "createdAtLte": "0001-01-01T00:00:00Z"}, 0),
        ({"createdAtGte": "9999-01-01T00:00:00Z"}, 0),
        ({"appName": ""}, 0),
    ],
)
def test_filters(api: Server, lines: list[Row], filters: dict[str, object], count: int) -> None:
    assert len(read(api, filters)) == count


def test_the_filter_itself_may_be_null_or_missing(api: Server, lines: list[Row]) -> None:
    assert len(read(api, None)) == len(lines)
    assert len(api.call("{ events { id } }", uid="boss-1").json()["data"]["events"]) == len(lines)


def test_a_text_that_no_column_can_hold_is_refused(api: Server, lines: list[Row]) -> None:
    for variables in ({"filter": {"route": "\0"}}, {"filter": {"appName": "a\0b"}}):
        assert code(api.call(EVENTS, variables, uid="boss-1").json()) == "BAD_USER_INPUT"
    stats_answer = api.call(
        STATS, {**WINDOW, "groupBy": ["APP"], "filter": {"route": "\0"}}, uid="boss-1"
    )
    assert code(stats_answer.json()) == "BAD_USER_INPUT"


def test_sql_in_a_filter_is_text(api: Server, lines: list[Row]) -> None:
    for value in ("' or true --", "%s", "%(route)s", "{filters}", "\\"):
        assert read(api, {"route": value, "appName": value}) == []


def test_a_rollup_by_day_with_its_states(api: Server, lines: list[Row]) -> None:
    found = stats(api, by="APP", eventType="journey_create_clicked")
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
    (row,) = stats(api, by="APP", period="TOTAL", eventType="(all)")["rows"]
    assert (row["day"], row["events"], row["users"], row["summedDailyUsers"]) == (
        None,
        27,
        None,
        21,
    )
    assert (row["sessions"], row["summedDailySessions"]) == (None, 12)


def test_raw_counts_are_exact_and_sessions_distinct_over_the_window(
    api: Server, lines: list[Row]
) -> None:
    (row,) = stats(api, groupBy=["APP"])["rows"]
    assert (row["events"], row["users"], row["summedDailyUsers"], row["sessions"]) == (
        28,
        None,
        21,
        4,
    )
    assert row["states"] == ["FRESH"]
    days = stats(api, groupBy=["DAY", "EVENT_TYPE"], filter={"deviceType": "mobile"})["rows"]
    assert sorted((each["day"], each["events"], each["users"]) for each in days) == [
        (str(d), 1, 1) for d in DAYS
    ]


def test_raw_counts_agree_with_a_count_by_hand(api: Server, lines: list[Row]) -> None:
    expected: dict[tuple[str, str], int] = defaultdict(int)
    for each in lines:
        expected[each["createdAt"][:10], each["route"]] += 1
    rows = stats(api, groupBy=["DAY", "ROUTE"])["rows"]
    assert {(row["day"], row["route"]): row["events"] for row in rows} == expected


def test_small_cells_and_what_would_give_them_back_are_left_out(
    api: Server, lines: list[Row]
) -> None:
    admin = stats(api, by="APP")
    assert (len(admin["rows"]), admin["suppressedRows"]) == (9, 0)
    for caller in (
        {"uid": "analyst-1"},
        {"uid": None, "headers": {"authorization": f"Bearer {SERVICE_KEY}"}},
    ):
        answer = api.call(STATS, {**WINDOW, "by": "APP"}, **caller).json()["data"]["eventStats"]
        assert {row["eventType"] for row in answer["rows"]} == {"journey_create_clicked"}
        assert (len(answer["rows"]), answer["suppressedRows"]) == (3, 6)


@pytest.mark.parametrize(
    "question",
    [
        {"by": "APP", "eventType": "(all)"},
        {"by": "APP", "eventType": "(all)", "period": "TOTAL"},
        {"by": "APP", "eventType": "(all)", "app": "journeys-admin"},
        {"groupBy": ["APP"]},
        {"groupBy": ["DAY"], "filter": {"appName": "journeys-admin"}},
    ],
)
def test_a_total_that_is_asked_alone_does_not_give_back_a_hidden_type(
    api: Server, lines: list[Row], question: Row
) -> None:
    """Another question gives the types of the same keys.

    The total minus the types that are shown would be the hidden one.
    """
    assert stats(api, **question)["rows"]
    hidden = stats(api, "analyst-1", **question)
    assert (hidden["rows"], hidden["suppressedRows"]) == ([], len(stats(api, **question)["rows"]))


def test_a_total_without_a_small_part_is_shown(api: Server, lines: list[Row]) -> None:
    found = stats(api, "analyst-1", by="ROUTE", eventType="(all)")
    assert [(row["route"], row["users"]) for row in found["rows"]] == [("/journeys", 7)] * 3
    raw = stats(api, "analyst-1", groupBy=["DAY", "ROUTE"])
    assert sorted((row["day"], row["route"], row["users"]) for row in raw["rows"]) == [
        (str(day), "/journeys", 7) for day in DAYS
    ]


def test_a_week_of_one_person_is_no_crowd(api: Server, lines: list[Row]) -> None:
    """Two people on each of three days are six daily users, but never five at once."""
    query = {"by": "ROUTE", "period": "TOTAL", "eventType": "editor_analytics_overlay_opened"}
    assert stats(api, **query)["rows"][0]["summedDailyUsers"] == 6
    hidden = stats(api, "analyst-1", **query)
    assert (hidden["rows"], hidden["suppressedRows"]) == ([], 1)


def test_the_only_other_value_of_a_split_goes_with_a_small_one(
    api: Server, lines: list[Row]
) -> None:
    """Six people use desktops and one a phone: all seven minus the six would be the one."""
    feature = {"eventType": "journey_create_clicked"}
    by_day = stats(api, "analyst-1", groupBy=["DAY"], **feature)["rows"]
    assert {row["day"]: row["events"] for row in by_day} == dict(
        zip(map(str, DAYS), (7, 7, 8), strict=True)
    )
    for asked in (
        {"groupBy": ["DEVICE"]},
        {"by": "DEVICE", "period": "TOTAL"},
        {"by": "BROWSER", "period": "WEEK"},
    ):
        whole, split = (stats(api, uid, **feature, **asked) for uid in ("boss-1", "analyst-1"))
        assert (split["rows"], split["suppressedRows"]) == ([], len(whole["rows"]))
    only_phones = stats(
        api, "analyst-1", groupBy=["DAY"], filter={"deviceType": "mobile"}, **feature
    )
    assert (only_phones["rows"], only_phones["suppressedRows"]) == ([], 3)


def test_several_splits_at_once_are_shown_where_nothing_in_them_is_small(
    api: Server, lines: list[Row]
) -> None:
    """Hidden rows are counted once per combination of the other keys.

    So their number reveals nothing.
    """
    question: Row = {"groupBy": ["DAY", "DEVICE", "ROUTE"], "eventType": "journey_create_clicked"}
    assert len(stats(api, **question)["rows"]) == 6
    hidden = stats(api, "analyst-1", **question)
    assert (hidden["rows"], hidden["suppressedRows"]) == ([], 3)
    nowhere = stats(
        api, "analyst-1", **question, filter={"osFamily": "Linux", "browserFamily": "Opera"}
    )
    assert (nowhere["rows"], nowhere["suppressedRows"]) == ([], 3)
    assert (
        stats(api, "analyst-1", **{**question, "groupBy": ["DEVICE", "ROUTE"]})["suppressedRows"]
        == 1
    )


@pytest.mark.parametrize(
    "variables",
    [
        {"by": "ENTITY"},
        {"groupBy": ["ENTITY"]},
        {"groupBy": ["APP", "ENTITY_TYPE"]},
        {"groupBy": ["APP"], "filter": {"entityId": JOURNEY}},
    ],
)
def test_entities_are_for_admins(
    api: Server, lines: list[Row], variables: dict[str, object]
) -> None:
    assert stats(api, **variables)["rows"]
    assert code(api.call(STATS, {**WINDOW, **variables}, uid="analyst-1").json()) == "FORBIDDEN"


def test_below_admin_one_answer_per_request(api: Server, lines: list[Row]) -> None:
    one = f'eventStats(by: APP, from: "{DAYS[0]}", to: "{DAYS[2]}") {{ suppressedRows }}'
    query = f"{{ a: {one} b: {one} }}"
    assert code(api.call(query, uid="analyst-1").json()) == "FORBIDDEN"
    assert set(api.call(query, uid="boss-1").json()["data"]) == {"a", "b"}


def test_a_rollup_that_this_server_does_not_have_is_not_called_purged(
    api_database: Database,
) -> None:
    with ThreadPoolExecutor(1) as readers:
        services = Services(None, None, None, api_database, {}, readers, None)  # type: ignore[arg-type] - not asked
        context = RequestContext(services, ApiKey("dashboard"), None, None, None)
        asked = question(DAYS[0], TODAY, StatsBy.APP, None, None, {})
        with pytest.raises(ApiError, match="no such rollup"):
            asyncio.run(event_stats(context, asked))


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
    ],
)
def test_a_question_that_makes_no_sense_is_refused(
    api: Server, lines: list[Row], variables: Row
) -> None:
    assert code(api.call(STATS, {**WINDOW, **variables}, uid="boss-1").json()) == "BAD_USER_INPUT"


def test_an_empty_text_is_a_filter_that_nothing_matches(api: Server, lines: list[Row]) -> None:
    for asked in (
        {"by": "APP", "app": ""},
        {"by": "APP", "eventType": ""},
        {"groupBy": ["APP"], "app": ""},
    ):
        assert stats(api, **asked)["rows"] == []
    for same in (
        {"app": None, "eventType": None},
        {"app": "journeys-admin", "filter": {"appName": "journeys-admin"}},
    ):
        assert (
            stats(api, **{"groupBy": ["DAY"], **same})["rows"]
            == stats(api, groupBy=["DAY"])["rows"]
        )


def test_the_ends_of_the_calendar_are_just_days_without_events(
    api: Server, lines: list[Row]
) -> None:
    for variables in ({"by": "APP", "period": "TOTAL"}, {"groupBy": ["APP", "EVENT_TYPE"]}):
        whole = stats(api, **{"from": "0001-01-01", "to": "9999-12-31", **variables})
        assert sorted(row["events"] for row in whole["rows"]) == sorted(
            row["events"]
            for row in stats(api, **{"from": str(DAYS[0]), "to": str(TODAY), **variables})["rows"]
        )
        assert stats(api, **{"from": "0001-01-01", "to": "0001-01-02", **variables})["rows"] == []
        assert stats(api, **{"from": "9999-12-30", "to": "9999-12-31", **variables})["rows"] == []


def test_today_is_partial(api: Server, lines: list[Row]) -> None:
    assert api.create(uid="writer-1")["data"]["eventCreate"]
    (row,) = stats(api, **{"from": str(TODAY), "to": str(TODAY)}, groupBy=["APP"])["rows"]
    assert (row["day"], row["states"], row["users"]) == (str(TODAY), ["PARTIAL"], 1)


@pytest.mark.parametrize("uid", ["boss-1", "analyst-1"])
@pytest.mark.parametrize(
    "question", [{"by": "APP"}, {"by": "ROUTE", "period": "WEEK"}, {"groupBy": ["APP"]}]
)
def test_days_that_cannot_be_known_are_named(
    api: Server, lines: list[Row], uid: str, question: Row
) -> None:
    api.create(uid="writer-1")  # An event of today, which a window in the future must not show.
    before, tomorrow = START_DATE - timedelta(days=1), TODAY + timedelta(days=1)
    past = stats(api, uid, **{"from": "0001-01-01", "to": str(before), **question})
    days = (START_DATE - date.min).days
    note = (
        f"{days:,} day(s) are before the start date {START_DATE} and unknown: 0001-01-01 to"
        f" {before}"
    )
    assert past == {"rows": [], "suppressedRows": 0, "notes": [note]}
    to_come = stats(api, uid, **{"from": str(tomorrow), "to": "9999-12-31", **question})
    note = (
        f"{(date.max - TODAY).days:,} day(s) are still to come and unknown: {tomorrow} to"
        " 9999-12-31"
    )
    assert to_come == {"rows": [], "suppressedRows": 0, "notes": [note]}
    both = stats(api, uid, **{"from": str(before), "to": str(tomorrow), **question})
    assert [each for each in both["notes"] if "unknown" in each and f": {tomorrow}" in each]
    assert [each for each in both["notes"] if each.endswith(f"and unknown: {before}")]
    assert all(
        "PARTIAL" in row["states"]
        for row in both["rows"]
        if row["day"] is None and row["week"] is None
    )


def test_purged_days_are_labelled_and_never_counted_from_raw(
    api: Server, lines: list[Row], rows: Connection
) -> None:
    rows.execute("update signal.days set state = 'purged' where day = %s", [DAYS[0]])
    try:
        states = {
            row["day"]: row["states"] for row in stats(api, by="APP", eventType="(all)")["rows"]
        }
        assert states[str(DAYS[0])] == ["PURGED"]
        refused = api.call(STATS, {**WINDOW, "groupBy": ["APP"]}, uid="boss-1").json()
        assert code(refused) == "BAD_USER_INPUT"
        assert "purged in part" in refused["errors"][0]["message"]
        assert all(row["createdAt"][:10] != str(DAYS[0]) for row in read(api))
    finally:
        rows.execute(
            "alter table signal.days disable trigger purged_is_final"
        )  # Only the test opens a day again.
        rows.execute("update signal.days set state = 'open' where day = %s", [DAYS[0]])
        rows.execute("alter table signal.days enable trigger purged_is_final")
