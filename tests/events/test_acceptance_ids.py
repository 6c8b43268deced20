"""Who sent an event and which event it is: the hash's inputs and derived ids."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta

import pytest
from support.acceptance import (
    ENTITY,
    KEEP,
    NOW,
    SECRET,
    START,
    TODAY,
    event,
    line,
)
from support.traffic import CHROME

from signal_pipeline.catalogue.load import load_catalogue
from signal_pipeline.events.acceptance import Acceptance
from signal_pipeline.events.event import AcceptedEvent, Drop
from signal_pipeline.events.hashing import DayHasher


def test_same_browser_same_day_is_one_hash_and_across_midnight_two() -> None:
    morning, evening = (
        event(createdAt="2026-11-19T00:00:00Z"),
        event(createdAt="2026-11-19T23:59:59.999Z"),
    )
    after = event(createdAt="2026-11-20T00:00:00Z")
    assert morning.user_hash == evening.user_hash != after.user_hash


def test_the_host_of_the_app_stands_in_for_a_missing_one() -> None:
    own = event(appName="cms").user_hash
    assert event(appName="cms", host="CMS.example.org.:443").user_hash == own
    assert event(appName="cms", host="").user_hash == own
    assert event(appName="cms", host="admin.example.org").user_hash != own


@pytest.mark.parametrize(
    ("ip", "address"),
    [
        ("203.0.113.7", "given"),
        ("::ffff:203.0.113.7", "given"),
        (None, "missing"),
        ("", "missing"),
        (" ", "missing"),
        ("unknown", "invalid"),
        ("203.0.113.256", "invalid"),
    ],
)
def test_an_address_is_given_missing_or_invalid(ip: str | None, address: str) -> None:
    accepted = event(ip=ip)
    assert accepted.address == address
    assert (accepted.user_hash == event().user_hash) == (address == "given")
    assert (accepted.user_hash == event(ip=None).user_hash) == (address != "given")


@pytest.mark.parametrize("text", [None, "", "   "])
def test_a_missing_user_agent_is_no_bot(text: str | None) -> None:
    accepted = event(userAgent=text)
    assert (accepted.device_type, accepted.browser_family, accepted.os_family) == ("unknown",) * 3
    assert accepted.user_hash == DayHasher(SECRET, TODAY).user_hash(
        "admin.example.org", "203.0.113.7", ""
    )


def test_a_line_without_an_id_derives_the_same_one_each_time() -> None:
    bare: dict[str, object] = {"clientEventId": ..., "description": {"b": 1, "a": 2}}
    derived = event(**bare).client_event_id
    assert event(**{**bare, "clientEventId": None}).client_event_id == derived
    assert event(**{**bare, "createdAt": "2026-11-20T10:30:00+01:00"}).client_event_id == derived
    assert event(**{**bare, "description": {"a": 2, "b": 1}}).client_event_id == derived
    assert event(**{**bare, "unknownKey": 1}).client_event_id == derived
    reversed_line = json.dumps(dict(reversed(json.loads(line(**bare)).items()))).encode()
    again = Acceptance(load_catalogue(), SECRET, START, KEEP).check_line(
        reversed_line, NOW + timedelta(days=30)
    )
    assert isinstance(again, AcceptedEvent)
    assert again.client_event_id == derived


@pytest.mark.parametrize(
    "change",
    [
        {"createdAt": "2026-11-20T09:30:00.001Z"},
        {"ip": "203.0.113.8"},
        {"userAgent": CHROME + " "},
        {"route": "/"},
        {"description": {}},
        {"sessionId": ENTITY},
    ],
)
def test_another_line_derives_another_id(change: dict[str, object]) -> None:
    bare: dict[str, object] = {"clientEventId": ...}
    assert event(**bare, **change).client_event_id != event(**bare).client_event_id


def test_another_secret_derives_another_id() -> None:
    other = Acceptance(load_catalogue(), b"another" * 8, START, KEEP).check_line(
        line(clientEventId=...), NOW
    )
    assert isinstance(other, AcceptedEvent)
    assert other.client_event_id != event(clientEventId=...).client_event_id


@pytest.mark.parametrize(
    ("entity_id", "stored"),
    [
        ("7" * 256, "7" * 256),
        ("a long id: \u00dc\U0001f600", "a long id: \u00dc\U0001f600"),
        ("7" * 257, None),
        ("\u0130" * 200, "\u0130" * 200),
        ("a\0", None),
        ("a\n", None),
        ("a\u200b", None),
        ("(none)", None),  # Reports call a missing id so.
        ("(NONE)", None),
    ],
)
def test_an_entity_id_is_printable_and_bounded_whatever_its_format_allows(
    entity_id: str, stored: str | None
) -> None:
    assert stored_id("(?s:.+)", entity_id) == stored


def stored_id(id_format: str, sent: str) -> str | None:
    """The id of a journey as it is stored if journeys have this format; None if it is refused."""
    catalogue = dataclasses.replace(load_catalogue(), id_formats={"uuid": id_format})
    checked = Acceptance(catalogue, SECRET, START, KEEP).check_line(
        line(entityType="journey", entityId=sent), NOW
    )
    if isinstance(checked, Drop):
        assert checked.reason == "invalid_entity"
        return None
    return checked.entity_id


@pytest.mark.parametrize(
    ("id_format", "sent", "stored"),
    [
        # Ids that differ only in capitals are different entities.
        ("[A-Za-z0-9_-]{11}", "dQw4w9WgXcQ", "dQw4w9WgXcQ"),
        ("[A-Za-z0-9_-]{11}", "dqw4w9wgxcq", "dqw4w9wgxcq"),
        ("[A-Z]{3}", "ABC", "ABC"),
        ("[A-Z]{3}", "abc", None),
        ("[a-z]{3}", "ABC", None),
        ("[0-9a-f]{24}", "507F1F77BCF86CD799439011", None),
        ("[0-9A-Fa-f]{32}", ENTITY.replace("-", "").upper(), ENTITY.replace("-", "").upper()),
        # A UUID is in lower case, whatever the format of its entity type.
        (".{1,64}", ENTITY.upper(), ENTITY.lower()),
        (".{1,64}", f"{{{ENTITY.upper()}}}", f"{{{ENTITY.upper()}}}"),
    ],
)
def test_only_uuids_become_lower_case(id_format: str, sent: str, stored: str) -> None:
    assert stored_id(id_format, sent) == stored
