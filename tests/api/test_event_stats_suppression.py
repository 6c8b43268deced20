"""What `eventStats` leaves out for callers who are not admins."""

from __future__ import annotations

import pytest
from support.queries import DAYS, JOURNEY, STATS, WINDOW, Row, read_stats
from support.wire import SERVICE_KEY, Server, code

pytestmark = pytest.mark.embedded_only


def test_small_cells(api: Server, lines: list[Row]) -> None:
    """Small cells are left out, and so are totals that would reveal them."""
    admin = read_stats(api, by="APP")
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
def test_total_asked_alone(api: Server, lines: list[Row], question: Row) -> None:
    """Another question gives the types of the same keys.

    The total minus the types that are shown would be the hidden one.
    """
    assert read_stats(api, **question)["rows"]
    hidden = read_stats(api, "analyst-1", **question)
    assert (hidden["rows"], hidden["suppressedRows"]) == (
        [],
        len(read_stats(api, **question)["rows"]),
    )


def test_a_total_without_a_small_part_is_shown(api: Server, lines: list[Row]) -> None:
    found = read_stats(api, "analyst-1", by="ROUTE", eventType="(all)")
    assert [(row["route"], row["users"]) for row in found["rows"]] == [("/journeys", 7)] * 3
    raw = read_stats(api, "analyst-1", groupBy=["DAY", "ROUTE"])
    assert sorted((row["day"], row["route"], row["users"]) for row in raw["rows"]) == [
        (str(day), "/journeys", 7) for day in DAYS
    ]


def test_a_week_of_one_person_is_no_crowd(api: Server, lines: list[Row]) -> None:
    """Two people on each of three days are six daily users, but never five at once."""
    query = {"by": "ROUTE", "period": "TOTAL", "eventType": "editor_analytics_overlay_opened"}
    assert read_stats(api, **query)["rows"][0]["summedDailyUsers"] == 6
    hidden = read_stats(api, "analyst-1", **query)
    assert (hidden["rows"], hidden["suppressedRows"]) == ([], 1)


def test_split_of_two_values(api: Server, lines: list[Row]) -> None:
    """Six people use desktops and one a phone: all seven minus the six would be the one."""
    feature = {"eventType": "journey_create_clicked"}
    by_day = read_stats(api, "analyst-1", groupBy=["DAY"], **feature)["rows"]
    assert {row["day"]: row["events"] for row in by_day} == dict(
        zip(map(str, DAYS), (7, 7, 8), strict=True)
    )
    for asked in (
        {"groupBy": ["DEVICE"]},
        {"by": "DEVICE", "period": "TOTAL"},
        {"by": "BROWSER", "period": "WEEK"},
    ):
        whole, split = (read_stats(api, uid, **feature, **asked) for uid in ("boss-1", "analyst-1"))
        assert (split["rows"], split["suppressedRows"]) == ([], len(whole["rows"]))
    only_phones = read_stats(
        api, "analyst-1", groupBy=["DAY"], filter={"deviceType": "mobile"}, **feature
    )
    assert (only_phones["rows"], only_phones["suppressedRows"]) == ([], 3)


def test_several_splits(api: Server, lines: list[Row]) -> None:
    """Hidden rows are counted once per combination of the other keys.

    So their number reveals nothing.
    """
    question: Row = {"groupBy": ["DAY", "DEVICE", "ROUTE"], "eventType": "journey_create_clicked"}
    assert len(read_stats(api, **question)["rows"]) == 6
    hidden = read_stats(api, "analyst-1", **question)
    assert (hidden["rows"], hidden["suppressedRows"]) == ([], 3)
    nowhere = read_stats(
        api, "analyst-1", **question, filter={"osFamily": "Linux", "browserFamily": "Opera"}
    )
    assert (nowhere["rows"], nowhere["suppressedRows"]) == ([], 3)
    assert (
        read_stats(api, "analyst-1", **{**question, "groupBy": ["DEVICE", "ROUTE"]})[
            "suppressedRows"
        ]
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
    assert read_stats(api, **variables)["rows"]
    assert code(api.call(STATS, {**WINDOW, **variables}, uid="analyst-1").json()) == "FORBIDDEN"


def test_below_admin_one_answer_per_request(api: Server, lines: list[Row]) -> None:
    one = f'eventStats(by: APP, from: "{DAYS[0]}", to: "{DAYS[2]}") {{ suppressedRows }}'
    query = f"{{ a: {one} b: {one} }}"
    assert code(api.call(query, uid="analyst-1").json()) == "FORBIDDEN"
    assert set(api.call(query, uid="boss-1").json()["data"]) == {"a", "b"}
