"""What passes through acceptance: an event as it was stated, as it is stored, and as the books
count one that was refused.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

import msgspec

Reason = Literal[
    "malformed",
    "invalid_field",
    "unknown_event_type",
    "unknown_app",
    "invalid_entity",
    "description_too_large",
    "description_pii",
    "description_schema",
    "bot",
    "too_late",
    "in_future",
    "rate_limited",
]

ABSENT = msgspec.Raw(b"")
JSON_NULL = msgspec.Raw(b"null")


class IncomingEvent(msgspec.Struct, rename="camel", gc=False):
    """One event as a caller or a landing line states it, with what the server saw of the caller.

    Attributes:
        created_at: an aware time; None means now. A line without `client_event_id` must carry one.
        description: the JSON text of an object, empty or `null` for none.
        host: the host the caller asked; None means the app's own.
        ip: the caller's address, in memory only.
        user_agent: the caller's user agent, in memory only.
    """

    event_type: str
    app_name: str
    route: str | None = None
    entity_type: str | None = None
    entity_id: str | None = None
    session_id: str | None = None
    description: msgspec.Raw = ABSENT
    client_event_id: str | None = None
    created_at: datetime | None = None
    host: str | None = None
    ip: str | None = None
    user_agent: str | None = None


class Line(IncomingEvent, gc=False):
    """An incoming event as it is decoded: its time is still the JSON text of it."""

    created_at: msgspec.Raw = JSON_NULL  # type: ignore[assignment]


class Event(msgspec.Struct, gc=False, frozen=True):
    """An event that passed every check: a row of `signal.events`.

    `id` is given where the caller must know it before the event is stored; else the store makes
    one.
    """

    day: date
    created_at: datetime
    app_name: str
    event_type: str
    route: str | None
    entity_type: str | None
    entity_id: str | None
    user_hash: bytes
    session_id: str | None
    device_type: str
    browser_family: str
    os_family: str
    client_event_id: str
    description: bytes | None
    address: Literal["given", "missing", "invalid"]
    id: bytes | None = None


class Drop(msgspec.Struct, gc=False, frozen=True):
    """An event that was refused, as the books count it: never a value of it.

    Attributes:
        stated_type: for the log: the event type as it came if it is plain `[a-z0-9_]{1,64}`, else
            empty.
        browser_family: of a bot, the bucket of its user agent, from the closed list; else empty. So
            are `os_family`
            and `device_type`.
    """

    reason: Reason
    day: date
    app_name: str
    event_type: str
    stated_type: str = ""
    browser_family: str = ""
    os_family: str = ""
    device_type: str = ""
