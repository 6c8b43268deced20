"""The GraphQL types of the API (requirement 6). Only the scalars have behaviour."""

from __future__ import annotations

from datetime import UTC, date, datetime
from enum import Enum
from typing import NewType

import strawberry
from strawberry.types.scalar import ScalarDefinition

from signal_pipeline.days.calendar import day_from_text

Json = NewType("Json", object)


def _utc(value: object) -> datetime:
    """Return a stated time as an aware time in UTC. A time without an offset is taken as UTC.

    Digits beyond microseconds are cut, as in the time of an event. Raises ValueError.
    """
    if not isinstance(value, str):
        raise ValueError("not a DateTime")
    try:
        time = datetime.fromisoformat(value.upper())  # RFC 3339 allows `t` and `z`.
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError("not a DateTime") from None


def _date(value: object) -> date:
    if not isinstance(value, str):
        raise ValueError("not a Date")
    try:
        return day_from_text(value)
    except ValueError:
        raise ValueError("not a Date: write YYYY-MM-DD") from None


SCALARS: dict[object, ScalarDefinition] = {
    Json: strawberry.scalar(
        name="Json",
        description="A JSON value.",
        serialize=lambda value: value,
        parse_value=lambda value: value,
    ),
    datetime: strawberry.scalar(
        name="DateTime",
        description="A time in UTC, RFC 3339. An input may have another offset.",
        serialize=lambda time: time.isoformat().replace("+00:00", "Z"),
        parse_value=_utc,
    ),
    date: strawberry.scalar(
        name="Date",
        description="A UTC date, YYYY-MM-DD.",
        serialize=lambda day: day.isoformat(),
        parse_value=_date,
    ),
}


@strawberry.input(
    description="One interaction. If it is dropped, for whatever reason, the call still succeeds."
)
class EventCreateInput:
    """One event, as the client states it."""

    event_type: str = strawberry.field(description="A name from the catalogue.")
    app_name: str
    client_event_id: strawberry.ID
    route: str | None = strawberry.UNSET
    entity_type: str | None = strawberry.UNSET
    entity_id: strawberry.ID | None = strawberry.UNSET
    session_id: strawberry.ID | None = strawberry.UNSET
    description: Json | None = strawberry.UNSET


@strawberry.input(description="Every field must match. Absent and null fields do not filter.")
class EventFilter:
    """The raw events to read."""

    app_name: str | None = strawberry.UNSET
    event_type: str | None = strawberry.UNSET
    entity_type: str | None = strawberry.UNSET
    entity_id: strawberry.ID | None = strawberry.UNSET
    route: str | None = strawberry.UNSET
    device_type: str | None = strawberry.UNSET
    session_id: strawberry.ID | None = strawberry.UNSET
    created_at_gte: datetime | None = strawberry.UNSET
    created_at_lte: datetime | None = strawberry.UNSET


@strawberry.type(description="One accepted event.")
class Event:
    """A stored event. `userHash` is filled for admins only."""

    id: strawberry.ID
    created_at: datetime
    app_name: str
    event_type: str
    route: str | None
    entity_type: str | None
    entity_id: strawberry.ID | None
    user_hash: str | None
    session_id: strawberry.ID | None
    device_type: str
    browser_family: str
    os_family: str
    client_event_id: strawberry.ID
    description: Json | None


@strawberry.enum(description="A daily rollup.")
class StatsBy(Enum):
    """The rollup to read."""

    APP = "app"
    DEVICE = "device"
    ROUTE = "route"
    ENTITY = "entity"
    BROWSER = "browser"
    OS = "os"


@strawberry.enum(description="A key by which raw events are counted.")
class StatsKey(Enum):
    """A key by which raw events are counted."""

    DAY = "day"
    APP = "app"
    EVENT_TYPE = "event-type"
    ROUTE = "route"
    ENTITY_TYPE = "entity-type"
    ENTITY = "entity"
    DEVICE = "device"
    BROWSER = "browser"
    OS = "os"


@strawberry.enum(description="The time that a row of a rollup covers.")
class StatsPeriod(Enum):
    """A day, an ISO week, or the whole window."""

    DAY = "day"
    WEEK = "week"
    TOTAL = "total"


@strawberry.enum(description="How far to trust a number. FRESH never comes with other states.")
class StatsState(Enum):
    """The states of the days that a row sums."""

    FRESH = "fresh"
    STALE = "stale"
    PARTIAL = "partial"
    PURGED = "purged"
    DEGRADED = "degraded"
    OVER_COUNTED = "over-counted"
    INCOMPLETE = "incomplete"
    MISSING = "missing"
    UNAVAILABLE = "unavailable"


@strawberry.input(description="Every field must match. Absent and null fields do not filter.")
class StatsFilter:
    """The raw events to count, or with `by` the rows of a rollup (by app and event type only)."""

    app_name: str | None = strawberry.UNSET
    event_type: str | None = strawberry.UNSET
    route: str | None = strawberry.UNSET
    entity_type: str | None = strawberry.UNSET
    entity_id: strawberry.ID | None = strawberry.UNSET
    device_type: str | None = strawberry.UNSET
    browser_family: str | None = strawberry.UNSET
    os_family: str | None = strawberry.UNSET


@strawberry.type(
    description="Counts over one day, ISO week or window, for one combination of keys."
)
class EventStatsRow:
    """One row of numbers.

    A key by which the rows are not split is null. The one exception is `day`, which is also given
    if the window is one day.
    """

    day: date | None
    week: str | None
    app_name: str | None
    event_type: str | None
    route: str | None
    entity_type: str | None
    entity_id: strawberry.ID | None
    device_type: str | None
    browser_family: str | None
    os_family: str | None
    events: int
    users: int | None = strawberry.field(
        description=(
            "Distinct users of one day. Null over several days, and for WEEK and TOTAL: hashes"
            " change daily."
        )
    )
    summed_daily_users: int
    sessions: int | None = strawberry.field(
        description="Distinct sessions. Null where only a sum over days is known."
    )
    summed_daily_sessions: int | None
    states: list[StatsState]


@strawberry.type(description="Aggregates, each row with its states.")
class EventStats:
    """The rows, how many were left out to hide small cells, and notes about the numbers."""

    rows: list[EventStatsRow]
    suppressed_rows: int
    notes: list[str]
