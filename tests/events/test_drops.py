"""The reasons for which an event is dropped, in their order, and whose books count it."""

from __future__ import annotations

import dataclasses
from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml
from support.acceptance import (
    CURL,
    ENTITY,
    FIRST_KEPT,
    ID,
    KEEP,
    MAX,
    NIL,
    NOW,
    SECRET,
    START,
    TODAY,
    acceptance,
    check,
    line,
    reason,
)
from support.traffic import CHROME, IPHONE

from signal_pipeline.catalogue.load import PACKAGED_CATALOGUE, load_catalogue
from signal_pipeline.events.acceptance import MAX_LINE_BYTES, Acceptance
from signal_pipeline.events.event import Drop

REASONS: dict[str, list[tuple[str, dict[str, object]]]] = {
    "invalid_field": [
        ("type missing", {"eventType": ...}),
        ("type null", {"eventType": None}),
        ("type a number", {"eventType": 7}),
        ("app missing", {"appName": ...}),
        ("app a list", {"appName": ["cms"]}),
        ("route a number", {"route": 1}),
        ("route empty", {"route": ""}),
        ("route relative", {"route": "journeys"}),
        ("route a URL", {"route": "https://admin.example.org/journeys"}),
        ("route too long", {"route": "/" + "a" * 256}),
        ("route with a line break", {"route": "/a\nb"}),
        ("session no UUID", {"sessionId": "abc"}),
        ("session with blanks", {"sessionId": f" {ENTITY} "}),
        ("session without dashes", {"sessionId": ENTITY.replace("-", "")}),
        ("client id no UUID", {"clientEventId": "1"}),
        ("client id empty", {"clientEventId": ""}),
        ("client id with line break", {"clientEventId": ID + "\n"}),
        ("client id nil", {"clientEventId": NIL}),
        ("client id max", {"clientEventId": MAX}),
        ("client id max in upper case", {"clientEventId": MAX.upper()}),
        ("client id max in mixed case", {"clientEventId": MAX.title()}),
        ("session nil", {"sessionId": NIL}),
        ("session max", {"sessionId": MAX}),
        ("session max in upper case", {"sessionId": MAX.upper()}),
        ("client id missing without time", {"clientEventId": ..., "createdAt": ...}),
        ("client id null without time", {"clientEventId": None, "createdAt": None}),
        ("time without zone", {"createdAt": "2026-11-20T09:30:00"}),
        ("time no time", {"createdAt": "yesterday"}),
        ("time empty", {"createdAt": ""}),
        ("time a number", {"createdAt": 1_790_000_000}),
        ("time not in the calendar", {"createdAt": "2026-02-30T09:30:00Z"}),
        ("time without seconds", {"createdAt": "2026-11-20T09:30Z"}),
        ("time with a comma", {"createdAt": "2026-11-20T09:30:00,5Z"}),
        ("time with a point alone", {"createdAt": "2026-11-20T09:30:00.Z"}),
        ("time of a leap second", {"createdAt": "2026-06-30T23:59:60Z"}),
        ("time of hour 24", {"createdAt": "2026-11-19T24:00:00Z"}),
        ("time a day off", {"createdAt": "2026-11-20T09:30:00+24:00"}),
        ("time with hours off alone", {"createdAt": "2026-11-20T09:30:00+02"}),
        ("time with seconds off", {"createdAt": "2026-11-20T09:30:00+00:00:30"}),
        ("time without zone and with many digits", {"createdAt": "2026-11-20T09:30:00.123456789"}),
        ("time in a week", {"createdAt": "2026-W47-5T09:30:00Z"}),
        ("description a text", {"description": "hello"}),
        ("description a list", {"description": [1]}),
        ("description a number", {"description": 0}),
        ("description with U+0000", {"description": {"a": "x\0y"}}),
        ("description with U+0000 in a key", {"description": {"x\0": 1}}),
        ("host with a blank", {"host": "admin example"}),
        ("host a path", {"host": "admin.example.org/x"}),
        ("host a number", {"host": 1}),
        ("ip a number", {"ip": 1}),
        ("user agent a list", {"userAgent": [CHROME]}),
        ("entity id a number", {"entityType": "journey", "entityId": 1}),
    ],
    "unknown_event_type": [
        ("unknown", {"eventType": "editor_overlay_opened"}),
        ("other case", {"eventType": "Journey_Create_Clicked"}),
        ("empty", {"eventType": ""}),
        ("the books' own word", {"eventType": "(all)"}),
    ],
    "unknown_app": [
        ("unknown", {"appName": "watch"}),
        ("other case", {"appName": "CMS"}),
        ("empty", {"appName": ""}),
        ("the books' own word", {"appName": "(unknown)"}),
    ],
    "invalid_entity": [
        ("type alone", {"entityType": "journey"}),
        ("id alone", {"entityId": ENTITY}),
        ("id null", {"entityType": "journey", "entityId": None}),
        ("unknown type", {"entityType": "team", "entityId": ENTITY}),
        ("no UUID", {"entityType": "journey", "entityId": "not-a-uuid"}),
        ("longer than a UUID", {"entityType": "journey", "entityId": ENTITY + "0"}),
        ("a line break behind it", {"entityType": "journey", "entityId": ENTITY + "\n"}),
        ("empty", {"entityType": "", "entityId": ""}),
        ("id nil", {"entityType": "journey", "entityId": NIL}),
        ("id max", {"entityType": "video", "entityId": MAX}),
        ("id max in upper case", {"entityType": "template", "entityId": MAX.upper()}),
    ],
    "description_too_large": [("by one byte", {"description": {"a": "x" * 2041}})],
    "description_pii": [
        ("a user agent", {"description": {"browser": IPHONE}}),
        ("key", {"description": {"email": "x"}}),
        ("deep key", {"description": {"a": [{"b": {"First_Name": 1}}]}}),
        ("address", {"description": {"note": "ask nobody@example.org"}}),
        ("IP in a list", {"description": {"seen": ["203.0.113.7"]}}),
    ],
    "description_schema": [
        ("missing", {"eventType": "ai_translation_language_picked", "description": {}}),
        (
            "wrong type",
            {"eventType": "ai_translation_language_picked", "description": {"language": 1}},
        ),
        (
            "too long",
            {"eventType": "ai_translation_language_picked", "description": {"language": "x" * 65}},
        ),
    ],
    "bot": [
        ("crawler", {"userAgent": "Googlebot/2.1 (+http://www.google.com/bot.html)"}),
        ("curl", {"userAgent": CURL}),
    ],
    "too_late": [
        ("due for purging", {"createdAt": f"{FIRST_KEPT - timedelta(days=1)}T23:59:59.999999Z"}),
        ("in year 1", {"createdAt": "0001-01-01T00:00:00+14:00"}),
    ],
    "in_future": [
        ("tomorrow", {"createdAt": "2026-11-21T12:30:00Z"}),
        ("beyond the skew", {"createdAt": "2026-11-20T12:35:00.000001Z"}),
        ("at the end of time", {"createdAt": "9999-12-31T23:59:59-12:00"}),
        ("at the very end of time", {"createdAt": "9999-12-31T23:59:59.9999999Z"}),
    ],
}


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        pytest.param(expected, changes, id=f"{expected}: {name}")
        for expected, cases in REASONS.items()
        for name, changes in cases
    ],
)
def test_each_reason(expected: str, changes: dict[str, object]) -> None:
    checked = check(**changes)
    assert isinstance(checked, Drop)
    assert checked.reason == expected


MALFORMED = {
    "torn": line()[:60],
    "not JSON": b"hello",
    "no object": b"[1]",
    "null": b"null",
    "a text": b'"journey_create_clicked"',
    "two objects": line() + line(),
    "bad UTF-8": line().replace(b"journeys-admin", b"\xff\xfe"),
    "NUL": b"\x00" * 40,
    "too long": b'{"eventType": "' + b"x" * MAX_LINE_BYTES + b'"}',
    "too deep": b"[" * 100_000,
    "description torn": line()[:-1] + b', "description": {"a": }}',
    "a lone surrogate": line()[:-1] + b', "description": {"a": "\\ud800"}}',
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_event_is_malformed(text: bytes) -> None:
    drop = acceptance.check_line(text, NOW)
    assert isinstance(drop, Drop)
    assert (drop.reason, drop.day) == ("malformed", TODAY)


def test_the_checks_come_in_order() -> None:
    """A line with every fault is dropped for the first; once that is mended, for the next."""
    faults: dict[str, object] = {
        "route": "no-route",
        "eventType": "no_such_type",
        "appName": "no-such-app",
        "entityType": "journey",
        "description": {"language": 7, "email": "x" * 2_100},
        "userAgent": CURL,
        "createdAt": "2000-01-01T00:00:00Z",
    }
    mends: list[tuple[str, dict[str, object]]] = [
        ("invalid_field", {"route": "/"}),
        ("unknown_event_type", {"eventType": "ai_translation_language_picked"}),
        ("unknown_app", {"appName": "cms"}),
        ("invalid_entity", {"entityId": ENTITY}),
        ("description_too_large", {"description": {"language": 7, "email": "x"}}),
        ("description_pii", {"description": {"language": 7}}),
        ("description_schema", {"description": {"language": "Deutsch"}}),
        ("bot", {"userAgent": CHROME}),
        ("too_late", {"createdAt": "2026-11-20T09:30:00Z"}),
    ]
    for expected, mend in mends:
        assert reason(**faults) == expected
        faults |= mend
    assert reason(**faults) == "accepted"
    assert reason(**{**faults, "createdAt": "2027-01-01T00:00:00Z", "userAgent": CURL}) == "bot"
    assert reason(host="no host", eventType="no_such_type") == "invalid_field"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"n": {"multipleOf": 0.5}}},
        {"type": "object", "allOf": [{"$ref": "#"}]},
    ],
)
def test_a_description_that_its_schema_cannot_judge_is_dropped(schema: dict[str, object]) -> None:
    packaged = load_catalogue()
    kind = packaged.event_types["journey_create_clicked"]
    kinds = {kind.name: dataclasses.replace(kind, description_schema=schema)}
    picky = Acceptance(dataclasses.replace(packaged, event_types=kinds), SECRET, START, KEEP)
    checked = picky.check_line(line(description={"n": int("9" * 310)}), NOW)
    assert isinstance(checked, Drop)
    assert checked.reason == "description_schema"


@pytest.mark.parametrize(
    ("changes", "day", "app", "event_type", "stated"),
    [
        (
            {"userAgent": CURL},
            date(2026, 11, 20),
            "journeys-admin",
            "journey_create_clicked",
            "journey_create_clicked",
        ),
        (
            {"userAgent": CURL, "createdAt": "2026-11-01T23:30:00-01:00"},
            date(2026, 11, 2),
            "journeys-admin",
            "journey_create_clicked",
            "journey_create_clicked",
        ),
        (
            {"createdAt": "2026-01-01T00:00:00Z"},
            START,
            "journeys-admin",
            "journey_create_clicked",
            None,
        ),
        (
            {"createdAt": "2025-12-31T23:59:59Z"},
            TODAY,
            "journeys-admin",
            "journey_create_clicked",
            None,
        ),
        (
            {"createdAt": "2026-11-22T00:00:00Z"},
            TODAY,
            "journeys-admin",
            "journey_create_clicked",
            None,
        ),
        (
            {"createdAt": "0001-01-01T00:00:00+14:00"},
            TODAY,
            "journeys-admin",
            "journey_create_clicked",
            None,
        ),
        ({"createdAt": "soon"}, TODAY, "journeys-admin", "journey_create_clicked", None),
        ({"eventType": "no_such_type"}, TODAY, "journeys-admin", "(other)", "no_such_type"),
        ({"eventType": "nobody@example.org"}, TODAY, "journeys-admin", "(other)", ""),
        ({"eventType": "x" * 65}, TODAY, "journeys-admin", "(other)", ""),
        ({"eventType": 7}, TODAY, "journeys-admin", "(other)", ""),
        ({"appName": "watch"}, TODAY, "(unknown)", "journey_create_clicked", None),
        (
            {"appName": 7, "createdAt": "2026-11-02T00:00:00Z"},
            date(2026, 11, 2),
            "(unknown)",
            None,
            None,
        ),
        (
            {"route": 7, "createdAt": "2026-11-02T00:00:00Z"},
            date(2026, 11, 2),
            "journeys-admin",
            None,
            None,
        ),
    ],
)
def test_whose_books_count_a_drop(
    changes: dict[str, object], day: date, app: str, event_type: str | None, stated: str | None
) -> None:
    drop = check(**changes)
    assert isinstance(drop, Drop)
    name = "journey_create_clicked"
    assert (drop.day, drop.app_name, drop.event_type) == (day, app, event_type or name)
    assert drop.stated_type == (name if stated is None else stated)


def test_retired_entries_drop_but_keep_their_names_in_the_books(tmp_path: Path) -> None:
    document = yaml.safe_load(PACKAGED_CATALOGUE.read_text(encoding="utf-8"))
    document["event_types"]["journey_create_clicked"]["retired"] = True
    document["apps"]["cms"]["retired"] = True
    document["entity_types"]["video"]["retired"] = True
    (tmp_path / "catalogue.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    retired = Acceptance(load_catalogue(tmp_path / "catalogue.yaml"), SECRET, START, KEEP)

    def drop(**changes: object) -> tuple[str, str, str]:
        checked = retired.check_line(line(**changes), NOW)
        assert isinstance(checked, Drop)
        return checked.reason, checked.app_name, checked.event_type

    opened = "editor_analytics_overlay_opened"
    assert drop() == ("unknown_event_type", "journeys-admin", "journey_create_clicked")
    assert drop(appName="cms", eventType=opened) == ("unknown_app", "cms", opened)
    video: dict[str, object] = {"entityType": "video", "entityId": ENTITY}
    assert drop(eventType=opened, **video) == ("invalid_entity", "journeys-admin", opened)
