"""The outcome of one event: every reason, their order, and the edges (requirement 3).

It also tests whose books count the event.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.traffic import CHROME

from signal_pipeline.catalogue.load import PACKAGED_CATALOGUE, load_catalogue
from signal_pipeline.events.acceptance import MAX_LINE_BYTES, Acceptance
from signal_pipeline.events.event import AcceptedEvent, Drop, IncomingEvent
from signal_pipeline.events.hashing import DayHasher

SECRET = b"a-secret-for-tests-of-more-than-32-bytes"
START = date(2026, 1, 1)
NOW = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
TODAY = NOW.date()
KEEP = 180
FIRST_KEPT = TODAY - timedelta(days=KEEP)
ID = "0f0e7a8e-6f0e-4d0c-9a3e-0d6f0c7f1cAB"
ENTITY = "5B0E7A8E-6F0E-4D0C-9A3E-0D6F0C7F1C11"
NIL, MAX = "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"
CURL = "curl/8.7.1"

acceptance = Acceptance(load_catalogue(), SECRET, START, KEEP)


def line(**changes: object) -> bytes:
    """One good line, with changes; a change to Ellipsis removes the key."""
    fields: dict[str, object] = {
        "eventType": "journey_create_clicked",
        "appName": "journeys-admin",
        "clientEventId": ID,
        "createdAt": "2026-11-20T09:30:00Z",
        "ip": "203.0.113.7",
        "userAgent": CHROME,
        **changes,
    }
    return json.dumps({key: value for key, value in fields.items() if value is not ...}).encode()


def check(**changes: object) -> AcceptedEvent | Drop:
    return acceptance.check_line(line(**changes), NOW)


def event(**changes: object) -> AcceptedEvent:
    checked = check(**changes)
    assert isinstance(checked, AcceptedEvent), checked
    return checked


def reason(**changes: object) -> str:
    checked = check(**changes)
    return checked.reason if isinstance(checked, Drop) else "accepted"


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


def test_five_minutes_of_clock_skew_pass() -> None:
    assert event(createdAt="2026-11-20T12:35:00Z").created_at == NOW + timedelta(minutes=5)
    assert reason(createdAt="2026-11-20T12:35:00.000001Z") == "in_future"


def test_clock_skew_may_reach_into_tomorrow() -> None:
    late = datetime(2026, 11, 20, 23, 58, tzinfo=UTC)
    accepted = acceptance.check_line(line(createdAt="2026-11-21T00:02:00Z"), late)
    assert isinstance(accepted, AcceptedEvent)
    assert accepted.day == date(2026, 11, 21)


def test_the_last_kept_day_passes_whole() -> None:
    assert event(createdAt=f"{FIRST_KEPT}T00:00:00Z").day == FIRST_KEPT
    assert reason(createdAt=f"{FIRST_KEPT - timedelta(days=1)}T23:59:59Z") == "too_late"


def test_the_start_date_passes_and_the_day_before_does_not() -> None:
    soon_after = datetime(2026, 1, 3, tzinfo=UTC)
    first = acceptance.check_line(line(createdAt="2026-01-01T00:00:00Z"), soon_after)
    before = acceptance.check_line(line(createdAt="2025-12-31T23:59:59.999Z"), soon_after)
    assert isinstance(first, AcceptedEvent)
    assert isinstance(before, Drop)
    assert (before.reason, before.day) == ("too_late", soon_after.date())


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-11-19T23:59:59.999999Z", date(2026, 11, 19)),
        ("2026-11-20T00:00:00Z", date(2026, 11, 20)),
        ("2026-11-20T01:30:00+02:00", date(2026, 11, 19)),
        ("2026-11-19T20:00:00-05:00", date(2026, 11, 20)),
    ],
)
def test_the_day_is_the_utc_date(text: str, day: date) -> None:
    accepted = event(createdAt=text)
    assert accepted.day == day
    assert accepted.created_at == datetime.fromisoformat(text)
    assert accepted.created_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize("digits", ["9999999", "99999949", "999999999", "9999995000", "9" * 30])
@pytest.mark.parametrize("zone", ["Z", "z", "+00:00", "-00:00"])
def test_the_last_moment_of_a_day_is_not_tomorrow(digits: str, zone: str) -> None:
    last = event(createdAt=f"2026-11-19T23:59:59.{digits}{zone}")
    assert (last.day, last.created_at) == (
        date(2026, 11, 19),
        datetime(2026, 11, 19, 23, 59, 59, 999999, tzinfo=UTC),
    )
    assert last.user_hash == event(createdAt="2026-11-19T00:00:00Z").user_hash


def test_digits_beyond_microseconds_are_cut_at_every_bound() -> None:
    assert event(createdAt="2026-11-20T12:35:00.0000009Z").created_at == NOW + timedelta(minutes=5)
    assert reason(createdAt="2026-11-20T12:35:00.0000019Z") == "in_future"
    assert reason(createdAt=f"{FIRST_KEPT - timedelta(days=1)}T23:59:59.9999999Z") == "too_late"
    early = acceptance.check_line(
        line(createdAt="2025-12-31T23:59:59.9999999Z"), datetime(2026, 1, 3, tzinfo=UTC)
    )
    assert isinstance(early, Drop)
    assert early.reason == "too_late"


def test_a_drop_is_booked_on_the_day_that_its_text_names() -> None:
    last = {"createdAt": "2026-11-18T23:59:59.9999999Z"}
    for changes in ({"userAgent": CURL}, {"route": 7}, {"sessionId": NIL}, {"appName": "watch"}):
        drop = check(**last, **changes)
        assert isinstance(drop, Drop)
        assert drop.day == date(2026, 11, 18)


@pytest.mark.parametrize(
    "spell", [json.dumps, lambda text: '"' + "".join(f"\\u{ord(c):04x}" for c in text) + '"']
)
def test_a_time_is_read_however_its_json_spells_it(spell: Callable[[str], str]) -> None:
    for text, microsecond in (
        ("2026-11-19T23:59:59.9999999Z", 999999),
        ("2026-11-19T23:59:59.5Z", 500000),
    ):
        stated = line(createdAt=...)[:-1] + f', "createdAt" :\t{spell(text)} }}'.encode()
        accepted = acceptance.check_line(stated, NOW)
        assert isinstance(accepted, AcceptedEvent)
        assert accepted.created_at == datetime(2026, 11, 19, 23, 59, 59, microsecond, tzinfo=UTC)


def test_digits_elsewhere_are_not_cut() -> None:
    texts = {
        "at": "2026-11-19T23:59:59.9999999Z",
        "createdAt": "2026-11-19T23:59:59.1234567891Z",
        "pi": "3.14159265358979",
    }
    accepted = event(
        createdAt="2026-11-19T23:59:59.9999999Z", description=texts, route="/v/0.12345678x"
    )
    assert json.loads(accepted.description or b"") == texts


def test_a_replay_of_a_line_without_an_id_is_the_same_whatever_digits_follow_the_microseconds() -> (
    None
):
    derived = event(clientEventId=..., createdAt="2026-11-19T23:59:59.999999Z").client_event_id
    for text in ("2026-11-19T23:59:59.9999999Z", "2026-11-20T01:59:59.99999950+02:00"):
        assert event(clientEventId=..., createdAt=text).client_event_id == derived


def test_without_a_time_the_server_clock_counts() -> None:
    assert event(createdAt=...).created_at == NOW
    assert event(createdAt=None).created_at == NOW


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
