"""The time of an event: its UTC day, the bounds of what is accepted, and odd spellings."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from support.acceptance import CURL, FIRST_KEPT, NIL, NOW, acceptance, check, event, line, reason

from signal_pipeline.events.event import AcceptedEvent, Drop


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
