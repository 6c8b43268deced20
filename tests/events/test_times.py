"""Every instant that RFC 3339 can express is read to the microsecond.

The oracle is arithmetic on whole numbers.
"""

from __future__ import annotations

import calendar
import json
from datetime import UTC, date, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signal_pipeline.catalogue.load import load_catalogue
from signal_pipeline.events.acceptance import Acceptance
from signal_pipeline.events.event import AcceptedEvent, Drop
from signal_pipeline.events.times import time_of, time_of_json

SECRET = b"a-secret-for-tests-of-more-than-32-bytes"
MICROSECONDS = 1_000_000
DAY = 86_400 * MICROSECONDS
EPOCH = date(1970, 1, 1).toordinal()
NOW = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
acceptance = Acceptance(load_catalogue(), SECRET, date(2026, 6, 1), 180)


@st.composite
def stated_times(draw: st.DrawFn, first_year: int, last_year: int) -> tuple[str, int]:
    """A text, and the microseconds from 1970 to the instant that it names."""
    year, month = draw(st.integers(first_year, last_year)), draw(st.integers(1, 12))
    day = draw(st.integers(1, calendar.monthrange(year, month)[1]))
    hour, minute, second = draw(
        st.tuples(st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
    )
    if draw(st.booleans()):
        hour, minute, second = 23, 59, 59
    digits = draw(
        st.text("0123456789", max_size=15) | st.sampled_from(["9" * count for count in range(15)])
    )
    offset = draw(st.integers(-1439, 1439) | st.sampled_from([0, 60, -60, 330, 845]))
    zone = f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02}:{abs(offset) % 60:02}"
    if offset == 0:
        zone = draw(st.sampled_from(["Z", "z", "+00:00", "-00:00"]))
    fraction = f".{digits}" if digits else ""
    between = draw(st.sampled_from("Tt "))
    text = (
        f"{year:04}-{month:02}-{day:02}{between}{hour:02}:{minute:02}:{second:02}{fraction}{zone}"
    )
    seconds = (
        (date(year, month, day).toordinal() - EPOCH) * 86_400
        + hour * 3_600
        + (minute - offset) * 60
        + second
    )
    return text, seconds * MICROSECONDS + int(digits[:6].ljust(6, "0"))


def since_epoch(at: datetime) -> int:
    """Microseconds from 1970, by whole numbers only.

    An aware time near the calendar's ends has no UTC form.
    """
    offset = at.utcoffset()
    assert offset is not None
    local = (at.toordinal() - EPOCH) * 86_400 + at.hour * 3_600 + at.minute * 60 + at.second
    return (local - offset.days * 86_400 - offset.seconds) * MICROSECONDS + at.microsecond


@given(stated_times(1, 9999))
def test_every_instant_is_cut_to_microseconds(stated: tuple[str, int]) -> None:
    text, microseconds = stated
    for at in (time_of(text), time_of_json(msgspec.Raw(json.dumps(text).encode()))):
        assert at is not None
        assert since_epoch(at) == microseconds


@given(stated_times(2026, 2026))
def test_an_event_is_stored_under_the_date_of_its_text(stated: tuple[str, int]) -> None:
    text, microseconds = stated
    fields = {
        "eventType": "journey_create_clicked",
        "appName": "cms",
        "clientEventId": "7b0e7a8e-6f0e-4d0c-9a3e-0d6f0c7f1c11",
    }
    checked = acceptance.check_line(json.dumps({**fields, "createdAt": text}).encode(), NOW)
    day = date.fromordinal(EPOCH + microseconds // DAY)
    if isinstance(checked, AcceptedEvent):
        assert checked.day == day
        assert since_epoch(checked.created_at) == microseconds
    else:
        assert isinstance(checked, Drop)
        late = day < date(2026, 6, 1)
        assert checked.reason == ("too_late" if late else "in_future")
        assert late or microseconds > since_epoch(NOW) + 300 * MICROSECONDS


def test_null_is_no_time() -> None:
    assert time_of_json(msgspec.Raw(b"null")) is time_of(None) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-20",
        "2026-11-20T10:00Z",
        "2026-11-20T10:00:00",
        "1.12345678",
        "x.1234567Z",
        "." + "1" * 99,
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        time_of_json(msgspec.Raw(json.dumps(text).encode()))
    with pytest.raises(msgspec.ValidationError):
        time_of(text)
