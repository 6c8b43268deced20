"""The query `events` over real HTTP: raw events for admins."""

from __future__ import annotations

import uuid

import pytest
from support.queries import (
    DAYS,
    EVENTS,
    JOURNEY,
    STATS,
    WINDOW,
    Row,
    read_events,
)
from support.wire import Server, code

from signal_pipeline.api.graphql.event_filters import text_filters
from signal_pipeline.postgres.database import Database
from signal_pipeline.privacy.audit_log import actor_hmac
from signal_pipeline.reports.newest_events import FILTERS
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only


def test_newest_first_and_complete(api: Server, lines: list[Row]) -> None:
    rows = read_events(api)
    assert [row["clientEventId"] for row in rows] == [
        each["clientEventId"]
        for each in sorted(lines, key=lambda each: each["createdAt"], reverse=True)
    ]
    assert rows[1]["description"] == {"number": 2}


def test_reads_are_audited(api: Server, lines: list[Row], api_database: Database) -> None:
    """The entry holds the number of events, but neither the admin's name nor the filter."""
    entries = (
        "select actor, details::text from signal.audit where action = 'read_events' order by id"
        " desc limit 2"
    )
    read_events(api, {"entityType": "journey", "entityId": JOURNEY})
    read_events(api, None, 3)
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
    assert [row["id"] for row in read_events(api, None, limit)] == [
        row["id"] for row in read_events(api)
    ][:count]


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
    assert len(read_events(api, filters)) == count


def test_only_uuids_in_a_filter_become_lower_case() -> None:
    fields = {"entity_id": "dQw4w9WgXcQ", "session_id": JOURNEY.upper(), "route": "/A"}
    assert text_filters(fields, FILTERS) == {**fields, "session_id": JOURNEY}
    assert text_filters({"entity_id": JOURNEY.upper()}, FILTERS) == {"entity_id": JOURNEY}


def test_the_filter_itself_may_be_null_or_missing(api: Server, lines: list[Row]) -> None:
    assert len(read_events(api, None)) == len(lines)
    assert len(api.call("{ events { id } }", uid="boss-1").json()["data"]["events"]) == len(lines)


def test_text_that_no_column_can_hold(api: Server, lines: list[Row]) -> None:
    """A filter with a NUL is refused, by both queries."""
    for variables in ({"filter": {"route": "\0"}}, {"filter": {"appName": "a\0b"}}):
        assert code(api.call(EVENTS, variables, uid="boss-1").json()) == "BAD_USER_INPUT"
    stats_answer = api.call(
        STATS, {**WINDOW, "groupBy": ["APP"], "filter": {"route": "\0"}}, uid="boss-1"
    )
    assert code(stats_answer.json()) == "BAD_USER_INPUT"


def test_sql_in_a_filter_is_text(api: Server, lines: list[Row]) -> None:
    for value in ("' or true --", "%s", "%(route)s", "{filters}", "\\"):
        assert read_events(api, {"route": value, "appName": value}) == []


def test_an_admin_can_have_half_a_surrogate_pair_in_the_user_id(environment: Settings) -> None:
    """JSON can hold one, so a token can; the audit log takes every actor."""
    assert actor_hmac(environment, "a\ud800") != actor_hmac(environment, "a")
