"""Acceptance: what becomes of one event that is well formed, and that nothing breaks the check."""

from __future__ import annotations

import gc
import json
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.acceptance import (
    CURL,
    ENTITY,
    FIRST_KEPT,
    ID,
    MAX,
    NIL,
    NOW,
    SECRET,
    START,
    TODAY,
    acceptance,
    check,
    event,
    line,
    reason,
)
from support.traffic import CHROME

from signal_pipeline.events.event import AcceptedEvent, Drop, IncomingEvent
from signal_pipeline.events.hashing import DayHasher
from signal_pipeline.ingest.event_rows import event_rows


def test_a_good_line_becomes_a_row() -> None:
    accepted = event(
        route="/journeys/123?x=1#y",
        entityType="journey",
        entityId=ENTITY,
        sessionId="7B0E7A8E-6F0E-4D0C-9A3E-0D6F0C7F1C11",
        description={"b": 1, "a": [None, "ä"]},
        unknownKey="ignored",
    )
    assert accepted == AcceptedEvent(
        day=date(2026, 11, 20),
        created_at=datetime(2026, 11, 20, 9, 30, tzinfo=UTC),
        app_name="journeys-admin",
        event_type="journey_create_clicked",
        route="/journeys/[id]",
        entity_type="journey",
        entity_id=ENTITY.lower(),
        user_hash=DayHasher(SECRET, TODAY).user_hash(
            "admin.example.org", "203.0.113.7", "Chrome|150|macOS"
        ),
        session_id="7b0e7a8e-6f0e-4d0c-9a3e-0d6f0c7f1c11",
        device_type="desktop",
        browser_family="Chrome",
        os_family="macOS",
        client_event_id=ID.lower(),
        description=json.dumps(
            {"b": 1, "a": [None, "ä"]}, ensure_ascii=False, separators=(",", ":")
        ).encode(),
        address="given",
    )


def test_an_event_holds_neither_address_nor_user_agent() -> None:
    accepted = event(ip="203.0.113.99", description={"note": "hello"})
    assert b"203.0.113.99" not in msgspec.json.encode(accepted)
    assert b"AppleWebKit" not in msgspec.json.encode(accepted)


def test_a_route_of_256_characters_passes() -> None:
    longest = "/" + "/".join(["ab"] * 85)
    assert len(longest) == 255
    assert event(route=longest + "c").route == longest + "c"
    assert reason(route=longest + "cd") == "invalid_field"
    assert reason(route="/?" + "q" * 255) == "invalid_field"  # Measured before the query is cut.


def test_a_description_of_2048_bytes_passes() -> None:
    assert len(event(description={"a": "x" * 2040}).description or b"") == 2048
    assert len(event(description={"a": "ä" * 1020}).description or b"") == 2048
    assert reason(description={"a": "ä" * 1020 + "x"}) == "description_too_large"


def test_the_size_of_a_description_is_that_of_its_compact_form() -> None:
    padded = (
        line()[:-1]
        + b', "description": {  "a" :'
        + b" " * 4_000
        + b'"'
        + b"\\u00e4" * 1000
        + b'"}}'
    )
    assert isinstance(acceptance.check_line(padded, NOW), AcceptedEvent)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"a": None},
        {"a": 1e300},
        {"a": -0.0},
        {"a": 2**70},
        {"\U0001f600": "\\u0000"},
        {"a": [[[[]]]]},
    ],
)
def test_odd_descriptions_pass(value: dict[str, object]) -> None:
    assert json.loads(event(description=value).description or b"") == value


def test_unknown_keys_of_a_description_pass_its_schema() -> None:
    picked = {"eventType": "ai_translation_language_picked"}
    assert reason(**picked, description={"language": "x" * 64, "more": [1]}) == "accepted"
    assert reason(**picked, description=None) == "accepted"
    assert reason(**picked) == "accepted"


@pytest.mark.parametrize(
    "key",
    [
        "route",
        "entityType",
        "entityId",
        "sessionId",
        "description",
        "createdAt",
        "host",
        "ip",
        "userAgent",
    ],
)
def test_null_is_the_same_as_absent(key: str) -> None:
    assert check(**{key: None}) == check(**{key: ...})


def test_an_event_of_the_api_is_checked_like_a_line() -> None:
    stated = IncomingEvent(
        event_type="journey_create_clicked",
        app_name="journeys-admin",
        client_event_id=ID,
        created_at=datetime(2026, 11, 20, 10, 30, tzinfo=timezone(timedelta(hours=1))),
        ip="203.0.113.7",
        user_agent=CHROME,
    )
    assert acceptance.check(stated, NOW) == event()
    for no_id in ({"client_event_id": NIL}, {"session_id": MAX}, {"client_event_id": "1"}):
        refused = acceptance.check(msgspec.structs.replace(stated, **no_id), NOW)
        assert isinstance(refused, Drop)
        assert refused.reason == "invalid_field"
    dropped = acceptance.drop("rate_limited", stated, NOW)
    assert (dropped.reason, dropped.day, dropped.app_name) == (
        "rate_limited",
        TODAY,
        "journeys-admin",
    )


@given(st.binary(max_size=200))
def test_no_bytes_break_the_check(noise: bytes) -> None:
    assert isinstance(acceptance.check_line(noise, NOW), Drop)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = [*json.loads(line()), "route", "entityType", "entityId", "sessionId", "description", "host"]


@given(st.dictionaries(st.sampled_from(KEYS), json_values, max_size=3))
def test_no_value_breaks_the_check(changes: dict[str, object]) -> None:
    checked = check(**changes)
    if isinstance(checked, Drop):
        assert START <= checked.day <= TODAY
    else:
        assert FIRST_KEPT <= checked.day <= TODAY
        assert len(checked.description or b"") <= 2048


def test_a_batch_gets_what_its_lines_get_one_by_one() -> None:
    changes: list[dict[str, object]] = [
        {"ip": ip, "host": host, "userAgent": agent, "sessionId": session, "createdAt": at}
        for ip in ("203.0.113.7", "::ffff:203.0.113.7", "2001:DB8::1", "none", " ", None)
        for host in ("admin.example.org", "ADMIN.example.org:443", "a b", None)
        for agent in (CHROME, CURL, None)
        for session in (ENTITY, ENTITY.lower(), NIL, "x", None)
        for at in ("2026-11-20T09:30:00Z", "2026-11-19T23:59:59.9999999Z", "2027-01-01T00:00:00Z")
    ]
    changes += [
        {"entityType": kind, "entityId": id_}
        for kind in ("journey", "x", None)
        for id_ in (ENTITY, NIL, None)
    ]
    changes += [
        {"eventType": kind, "description": description}
        for kind in ("journey_create_clicked", "editor_helpscout_overlay_opened", "x")
        for description in (
            {"a": 1},
            {"a": "x@example.org"},
            {"a": "\0"},
            {"a": "x" * 2048},
            [],
            None,
        )
    ]
    changes += [
        {"clientEventId": ..., "sessionId": session, "description": description}
        for session in (ENTITY, ENTITY.lower())
        for description in ({"a": 1}, {"a": 1.0}, {"a": True}, None, ...)
    ]
    lines = [line(**each) for each in changes * 2]
    padded = [b"", *lines, b" \t\r", b"{", b"[]"]
    one_by_one = [acceptance.check_line(text, NOW) for text in [*lines, b"{", b"[]"]]
    assert acceptance.check_lines(padded, NOW) == one_by_one
    assert len(set(one_by_one)) > 30


def test_nothing_of_a_batch_is_remembered() -> None:
    cached = type(lru_cache(hash))

    def remembered() -> int:
        gc.collect()  # Earlier tests can have left caches that nobody uses.
        # `isinstance` would raise for a weak proxy whose object is gone.
        caches = [each for each in gc.get_objects() if type(each) is cached]
        return sum(each.cache_info().currsize for each in caches)

    def lay_out(visitor: int) -> int:
        own_id = f"{visitor}{ENTITY[1:]}"
        changes = {"sessionId": own_id, "entityType": "journey", "entityId": own_id}
        text = line(ip=f"203.0.113.{visitor}", description={"step": visitor}, **changes)
        events = [
            each
            for each in acceptance.check_lines([text] * 2, NOW)
            if isinstance(each, AcceptedEvent)
        ]
        return len(event_rows(events))

    assert lay_out(1) == 2
    before = remembered()
    assert lay_out(2) == 2
    assert remembered() == before
