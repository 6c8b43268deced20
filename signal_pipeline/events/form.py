"""The form of an event's fields, the first step of acceptance (requirement 3.1).

Each function returns a field as it is stored (a host as it is hashed), or raises Refused.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from signal_pipeline.events.addresses import canonical_host
from signal_pipeline.events.event import Reason
from signal_pipeline.events.ids import is_id
from signal_pipeline.events.routes import route_template
from signal_pipeline.events.user_agents import UserAgent

decode_json = msgspec.json.Decoder().decode
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_host = lru_cache(maxsize=256)(canonical_host)
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class Refused(Exception):
    """An event is dropped for this reason. `bot` is the user agent of a bot."""

    def __init__(self, reason: Reason, bot: UserAgent | None = None) -> None:
        super().__init__(reason)
        self.reason: Reason = reason
        self.bot = bot


def stored_route(text: str | None) -> str | None:
    """Return the template of a route."""
    if text is None:
        return None
    try:
        return route_template(text)
    except ValueError:
        raise Refused("invalid_field") from None


def stored_id(text: str | None) -> str | None:
    """Return the id of an event or a session in lower case."""
    if text is None:
        return None
    lowered = text.lower()
    if not is_id(lowered):
        raise Refused("invalid_field")
    return lowered


def stated_host(text: str | None) -> str | None:
    """Return the canonical host, or None if the event states none."""
    if not text:
        return None
    try:
        return _host(text)
    except ValueError:
        raise Refused("invalid_field") from None


def stored_description(raw: bytes) -> bytes | None:
    """Return the JSON text of a description, or None if the event has none."""
    if not raw or raw == b"null":
        return None
    try:
        value = decode_json(raw)
    except msgspec.ValidationError:
        raise Refused("invalid_field") from None
    except NOT_JSON:
        raise Refused("malformed") from None
    if not isinstance(value, dict) or _NUL.search(text := msgspec.json.encode(value)):
        raise Refused("invalid_field")  # PostgreSQL's jsonb cannot hold U+0000.
    return text
