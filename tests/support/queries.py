"""The queries `events` and `eventStats`, and the events of three days that they are asked about."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, date, datetime
from typing import Any

from support.days import days_ago
from support.traffic import CHROME, IPHONE, line
from support.wire import Server

DAYS = [days_ago(n) for n in (3, 2, 1)]
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


def event_at(day: date, hour: int, minute: int, **changes: object) -> Row:
    made: Row = json.loads(
        line(datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC), **changes)
    )
    return made


def lines_of_day(number: int, day: date) -> list[Row]:
    """One day: seven people create from a template.

    Two of them also open the overlay of a journey.
    """
    overlay = {"eventType": "editor_analytics_overlay_opened", "route": "/journeys/[journeyId]"}
    about = {"entityType": "journey", "entityId": JOURNEY, "description": {"number": number}}
    return [
        *(
            event_at(
                *(day, 10, person),
                ip=f"198.51.100.{person}",
                userAgent=IPHONE if person == 6 else CHROME,
                sessionId=str(uuid.UUID(int=person // 2 + 1)),
            )
            for person in range(7)
        ),
        *(
            event_at(day, 11, person, ip=f"198.51.100.{person}", **overlay, **about)
            for person in range(2)
        ),
    ]


def read_events(
    api: Server, filters: dict[str, object] | None = None, limit: int | None = 1000
) -> list[Row]:
    """Raw events, as an admin."""
    answer = api.call(EVENTS, {"filter": filters, "limit": limit}, uid="boss-1").json()
    assert "errors" not in answer
    rows: list[Row] = answer["data"]["events"]
    return rows


def read_stats(api: Server, uid: str = "boss-1", **variables: object) -> Row:
    """`eventStats`; by default for an admin and the whole window."""
    answer = api.call(STATS, {**WINDOW, **variables}, uid=uid).json()
    assert "errors" not in answer, answer
    found: Row = answer["data"]["eventStats"]
    return found
