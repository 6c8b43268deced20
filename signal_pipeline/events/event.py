"""An event in its three forms: as it was stated, as it is stored, and as a drop in the books."""

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

Address = Literal["given", "missing", "invalid"]

ABSENT = msgspec.Raw(b"")
JSON_NULL = msgspec.Raw(b"null")


class IncomingEvent(msgspec.Struct, rename="camel", gc=False):
    """One event as a caller or a landing line states it, with what the server saw of the caller.

    Attributes:
        created_at: an aware time; None means now. A line without `client_event_id` must state its
            time.
        description: the JSON text of an object; empty or `null` means none.
        host: the host that the caller asked for; None means the app's own.
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
    """An incoming event as it is decoded, with its time still as JSON text."""

    created_at: msgspec.Raw = JSON_NULL  # type: ignore[assignment]


class AcceptedEvent(msgspec.Struct, gc=False, frozen=True):
    """An event that passed every check: a row of `signal.events`.

    `id` is set if the caller must know it before the event is stored. Otherwise the ingest makes
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
    address: Address
    id: bytes | None = None


class Drop(msgspec.Struct, gc=False, frozen=True):
    """A refused event as the books count it.

    It holds no id, route, description, address or user agent of the event.

    Attributes:
        stated_type: for the log: the stated event type if it is plain `[a-z0-9_]{1,64}`, else
            empty.
        browser_family: for a bot, the bucket of its user agent, from the closed list; else empty.
            The same is true of `os_family` and `device_type`.
    """

    reason: Reason
    day: date
    app_name: str
    event_type: str
    stated_type: str = ""
    browser_family: str = ""
    os_family: str = ""
    device_type: str = ""
