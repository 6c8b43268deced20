"""The instant that a text names (RFC 3339, with seconds and an offset).

msgspec reads the text, and would round it to microseconds: the last tenth of a microsecond of a day
would become the next day. An event belongs to the date that its text names. The digits beyond
microseconds, which .NET, Go and Java write, are therefore cut first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Annotated

import msgspec

_Time = Annotated[datetime, msgspec.Meta(tz=True)] | None
_decode: Callable[[msgspec.Raw], datetime | None] = msgspec.json.Decoder(_Time).decode
_decode_any = msgspec.json.Decoder().decode

# The length of the shortest JSON text that can have more than six digits after the point.
_SHORTEST_LONG = len('"2026-11-20T09:30:00.1234567Z"')
_search_long = re.compile(rb"\.[0-9]{7}|\\").search
_DIGITS_BEYOND = re.compile(r"(\.[0-9]{6})[0-9]+")


def time_of_json(text: msgspec.Raw) -> datetime | None:
    """Return the aware time that a JSON text names, with its stated offset, or None for `null`.

    Raises msgspec.ValidationError if the text names no time.
    """
    if len(text) < _SHORTEST_LONG or _search_long(text) is None:
        return _decode(text)
    return time_of(_decode_any(text))


def time_of(value: object) -> datetime | None:
    """Return the time of an already decoded value, as `time_of_json` does."""
    if isinstance(value, str):
        value = _DIGITS_BEYOND.sub(r"\1", value, count=1)
    time: datetime | None = msgspec.convert(value, _Time)
    return time


def date_or_none(at: datetime) -> date | None:
    """Return the UTC date of an aware time, or None if it lies beyond the calendar's ends."""
    if at.tzinfo is UTC:
        return at.date()
    try:
        return at.astimezone(UTC).date()
    except OverflowError:
        return None
