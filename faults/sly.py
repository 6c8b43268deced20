"""Sly payloads: a part of each looks hostile, and yet it must be accepted.

Each comes with the row that it must become. The rows are spelled out by hand from requirements 1 to
3, so this is an oracle of its own.
"""

from __future__ import annotations

import itertools
import json
import unicodedata
import uuid
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple

from hypothesis import strategies as st

from faults.oracle import HOSTS, TYPES
from faults.sly_rows import Stored
from faults.sly_values import (
    ADDRESSES,
    AGENTS,
    HARMLESS_KEYS,
    HARMLESS_TEXTS,
    LINE_HOSTS,
    NUMBERS,
    ROUTES,
    SESSIONS,
)

# No text of these letters can contain an address, even after NFKC.
_LETTERS = st.characters(
    categories=("L", "Zs", "So", "Sc"), include_characters="'\"\\/<>&;-_$\t"
).filter(lambda letter: not set("@.:%") & set(unicodedata.normalize("NFKC", letter)))


def _descriptions() -> st.SearchStrategy[dict[str, object] | None]:
    leaves = (
        st.sampled_from(HARMLESS_TEXTS)
        | st.text(_LETTERS, max_size=20)
        | st.sampled_from([None, True, False, *NUMBERS])
    )
    keys = st.sampled_from(HARMLESS_KEYS)
    values = st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=2),
        max_leaves=5,
    )
    small = st.dictionaries(keys, values, max_size=3).filter(
        lambda found: len(json.dumps(found, ensure_ascii=False).encode()) < 2_000
    )
    return st.none() | small


def _times(now: datetime) -> list[tuple[str, datetime]]:
    """Return texts of times that are neither too late nor in the future, with their instants."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    tick = timedelta(microseconds=1)
    instants = [now, now + timedelta(minutes=1), midnight, midnight - tick, midnight + tick]
    instants += [
        midnight - timedelta(days=days) - tick * before
        for days in (1, 31, 179)
        for before in (0, 1)
    ]
    instants += [midnight - timedelta(days=180)]
    year = datetime(now.year, 1, 1, tzinfo=UTC)
    instants += [at for at in (year, year - tick) if midnight - timedelta(days=180) <= at]
    found = []
    for at in instants:
        text = at.isoformat()
        found += [
            (text, at),
            (text.replace("+00:00", "Z"), at),
            (text.replace("+00:00", "-00:00"), at),
        ]
        found += [
            (at.astimezone(timezone(timedelta(hours=hours))).isoformat(), at)
            for hours in (14, -12, 5.75)
        ]
        # Digits beyond microseconds are cut, so the last microsecond of a day is still of that day.
        found += [
            (f"{at:%Y-%m-%dT%H:%M:%S.%f}{digits}{zone}", at)
            for digits in ("9", "999", "5000000")
            for zone in "Zz"
        ]
        found += [
            (f"{at.astimezone(timezone(timedelta(hours=-9))):%Y-%m-%dT%H:%M:%S.%f}999-09:00", at)
        ]
    return found


class Sly(NamedTuple):
    """A payload's fields as a line states them, and the row that this line must become."""

    fields: dict[str, object]
    stored: Stored


def sly_payloads(now: datetime, at_seed: int) -> st.SearchStrategy[Sly]:
    """Return payloads that must be accepted; another seed gives other ids."""
    # Hypothesis does not choose the numbers, because it can repeat an example, and then the payload
    # would be a duplicate.
    numbers = itertools.count(2**121 + (at_seed << 64))

    def make(parts: tuple[Any, ...]) -> Sly:
        app_name, event_type, route, agent, address, host, at, session, description, upper = parts
        ids = [str(uuid.UUID(int=next(numbers))) for _ in range(3)]
        ids[0] = session or ids[0]
        spelled = [text.upper() if upper else text for text in ids]
        fields: dict[str, object] = {
            "eventType": event_type,
            "appName": app_name,
            "route": route[0],
            "sessionId": spelled[0],
            "entityType": "journey",
            "entityId": spelled[1],
            "clientEventId": spelled[2],
            "userAgent": agent[0],
            "ip": address[0],
            "host": host[0],
            "createdAt": at[0],
            "description": description,
        }
        text = None if description is None else json.dumps(description)
        stored = Stored(
            app_name,
            event_type,
            route[1],
            ids[1],
            ids[0],
            text,
            agent[1],
            address[1],
            host[1] or HOSTS[app_name],
            at[1],
        )
        return Sly(fields, stored)

    several = (sorted(HOSTS), TYPES, ROUTES, AGENTS, ADDRESSES, LINE_HOSTS, _times(now), SESSIONS)
    parts = st.tuples(*(st.sampled_from(each) for each in several), _descriptions(), st.booleans())
    return st.builds(make, parts)
