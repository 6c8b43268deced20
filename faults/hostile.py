"""Hostile payloads that hypothesis makes from a good one, to crash a parser or slip past a check.

About one in four is sly: it must be accepted although it looks hostile. See `sly.py`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from faults.oracle import MAC
from faults.sly import Sly, sly_payloads
from faults.sly_rows import Stored

GOOD: dict[str, object] = {
    "eventType": "journey_create_clicked",
    "appName": "cms",
    "clientEventId": "7b0e7a8e-6f0e-4d0c-9a3e-0d6f0c7f1c11",
    "createdAt": "2026-01-01T00:00:00Z",
    "ip": "198.51.100.7",
    "userAgent": MAC,
    "route": "/journeys/[journeyId]",
    "sessionId": "7b0e7a8e-6f0e-4d0c-9a3e-0d6f0c7f1c12",
    "host": "admin.example.org",
    "entityType": "journey",
    "entityId": "7b0e7a8e-6f0e-4d0c-9a3e-0d6f0c7f1c13",
    "description": {"note": "plain"},
}
PRIVATE_KEYS = (
    "email",
    "E-Mail",
    "e_m a i l",
    "ＥＭＡＩＬ",
    "firstName",
    "first_name",
    "PassWord",
    "userId",
    "TOKEN",
    "phone",
    "naｍe",
    "currentUser",
    "auth_header",
    "BIRTH-YEAR",
    "coords",
)
TEXTS = (
    "",
    " ",
    "\x00",
    "\ud800",
    "\udfff\ud800",
    "\ufeff",
    "‮evil",
    "İ" * 40,
    "a" * 300,
    "'; drop table signal.events; --",
    "\\'); select pg_sleep(9); --",
    "$$; copy signal.events to program 'id'; $$",
    "%s %(x)s %n ${jndi:ldap://x} {{7*7}}",
    "<script>alert(1)</script>",
    "![x](javascript:alert(1))",
    "=cmd|' /C calc'!A0",
    "../../../etc/passwd",
    "/users/someone@example.org/edit",
    "http://evil.example/?a=1#b",
    "some.body@example.org",
    "198.51.100.7",
    "::ffff:198.51.100.7",
    "[fe80::1%eth0]:443",
    "999.999.999.999",
    "0x7f.1",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",  # pragma: allowlist secret
    "Googlebot/2.1 (+http://www.google.com/bot.html)",
    "-",
    "Mozilla/5.0 " + "A" * 65_536,
    "Mozilla/5.0 " + "(" * 4_000,
    "journey_create_clicked\n",
    "JOURNEY_CREATE_CLICKED",
    "7B0E7A8E-6F0E-4D0C-9A3E-0D6F0C7F1C11",
    "{7b0e7a8e-6f0e-4d0c-9a3e-0d6f0c7f1c11}",
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
    "4111 1111 1111 1111",
    "GB29NWBK60161331926819",
    "+43 664 1234567",
    "00:1a:2b:3c:4d:5e",
    "48.2082, 16.3738",
    "https://www.example.org/reset?token=abc",
)


def _day_start(days_ago: int) -> datetime:
    """Return when the UTC day began that was `days_ago` days ago; 0 is today."""
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=days_ago)


def times() -> list[object]:
    """Return times at every edge, by the present clock."""
    now, midnight = datetime.now(UTC), _day_start(0)
    offsets = (
        timedelta(0),
        timedelta(microseconds=1),
        -timedelta(microseconds=1),
        timedelta(minutes=5, seconds=1),
    )
    near = [(start + offset).isoformat() for start in (now, midnight) for offset in offsets]
    kept = [_day_start(days).isoformat() for days in (1, 179, 180, 181, 420, 421)]
    fixed = [
        "2024-02-29T23:59:59.999999Z",
        "2023-02-29T00:00:00Z",
        "2025-12-31T23:59:60Z",
        "2026-01-01T00:00:00+14:00",
    ]
    fixed += [
        f"{at:%Y-%m-%dT%H:%M:%S}.9999999Z"
        for at in (midnight - timedelta(seconds=1), now + timedelta(minutes=5))
    ]
    ends = [
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "9999-12-31T23:59:59.9999999Z",
        "10000-01-01T00:00:00Z",
        "-0001-01-01T00:00:00Z",
    ]
    odd = [
        "2026-01-01",
        "2026-01-01T00:00:00",
        "now",
        "infinity",
        1_767_225_600,
        -1,
        1e308,
        None,
        "2026-W01-1T00:00Z",
    ]
    return [*near, *kept, *fixed, *ends, *odd]


def _values() -> st.SearchStrategy[object]:
    leaves = (
        st.sampled_from(TEXTS)
        | st.text(max_size=40)
        | st.sampled_from(
            [None, True, 0, -1, 2**63, 2**64, 10**400, 1.5, float("inf"), float("nan"), -0.0]
        )
    )
    keys = st.sampled_from([*PRIVATE_KEYS, "note", "", "\x00", "a" * 3_000]) | st.text(max_size=8)
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=6,
    )


def _changes(edges: list[object]) -> st.SearchStrategy[tuple[str, object]]:
    texts = [name for name in GOOD if name not in ("createdAt", "description")]
    described = st.dictionaries(
        st.sampled_from([*PRIVATE_KEYS, "note", "deep"]), _values(), min_size=1, max_size=3
    )
    return st.one_of(
        st.tuples(st.sampled_from(texts), st.sampled_from(TEXTS)),
        st.tuples(st.just("description"), described),
        st.tuples(st.just("createdAt"), st.sampled_from(edges)),
        st.tuples(
            st.sampled_from([*GOOD, "__proto__", "event_type", "createdat", "Ip", ""]), _values()
        ),
    )


Encoder = Callable[[bytes], bytes]
ENCODINGS: dict[str, Encoder] = {
    "as it is": lambda text: text,
    "torn": lambda text: text[:-7],
    "a key twice": lambda text: text[:-1] + b', "appName": "nobody", "ip": 5}',
    "latin-1": lambda text: text[:-1] + b', "x": "\xe9\xff\xfe"}',
    "a lone surrogate": lambda text: text[:-1] + b', "route": "/\\ud800"}',
    "an escaped NUL": lambda text: text[:-1] + b', "route": "/\\u0000"}',
    "a raw NUL": lambda text: text[:-1] + b', "route": "/\x00"}',
    "a mark at the start": lambda text: b"\xef\xbb\xbf" + text,
    "nested deep": lambda text: (
        text[:-1] + b', "description": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"}"
    ),
    "lists deep": lambda text: text[:-1] + b', "description": {"a":' + b"[" * 50_000 + b"}}",
    "a huge number": lambda text: (
        text[:-1] + b', "description": {"n": ' + b"9" * 5_000 + b"e99999}}"
    ),
    "too long": lambda text: text[:-1] + b', "x": "' + b"y" * 300_000 + b'"}',
    "two objects": lambda text: text + text,
    "a list": lambda text: b"[" + text + b"]",
    "UTF-16": lambda text: text.decode(errors="replace").encode("utf-16"),
    "no object": lambda text: b"null",
}
# Weighted, so that most payloads reach the checks after the parser.
_ENCODINGS = st.sampled_from([*["as it is"] * 24, *ENCODINGS])


SPELLINGS: dict[str, Encoder] = {
    "as it is": lambda text: text,
    "in UTF-8": lambda text: json.dumps(json.loads(text), ensure_ascii=False).encode(),
    "every letter escaped": lambda text: _escaped(json.loads(text)).encode(),
    "blanks": lambda text: json.dumps(json.loads(text), separators=("\t, \r", " :\t")).encode(),
    "a key twice": lambda text: b'{"appName": "nobody", "route": "nowhere", ' + text[1:],
}
_SPELLINGS = st.sampled_from(sorted(SPELLINGS))


def _escaped(value: object) -> str:
    if isinstance(value, str):
        units = value.encode("utf-16-be")
        return (
            '"' + "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)) + '"'
        )
    if isinstance(value, dict):
        return (
            "{" + ",".join(f"{_escaped(key)}:{_escaped(each)}" for key, each in value.items()) + "}"
        )
    if isinstance(value, list):
        return "[" + ",".join(map(_escaped, value)) + "]"
    return json.dumps(value)


class Payload(NamedTuple):
    """One payload: its fields, how their JSON is mangled, and the row that it must become.

    `stored` is None if the payload does not have to pass.
    """

    fields: dict[str, object]
    encode: Encoder
    stored: Stored | None = None

    @property
    def line(self) -> bytes:
        """The payload as one line."""
        return self.encode(json.dumps(self.fields).encode()).replace(b"\n", b" ") or b" "


def payloads(number: int, use: Callable[[Payload], None], at_seed: int) -> None:
    """Make at least `number` payloads and give each to `use`; the same seed makes the same ones.

    Each example has several changes, and gives several payloads: one with the first change, one
    with the first two, and so on. It also gives one sly payload, which must pass.
    """
    edges, yesterday = times(), _day_start(1).isoformat()

    @seed(at_seed)
    @settings(
        max_examples=number // 3 + 1,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.lists(_changes(edges), min_size=2, max_size=4),
        _ENCODINGS,
        st.integers(0, 2**120),
        sly_payloads(datetime.now(UTC), at_seed),
        _SPELLINGS,
    )
    def make(
        changes: list[tuple[str, object]], encoding: str, unique: int, sly: Sly, spelling: str
    ) -> None:
        fields = {**GOOD, "createdAt": yesterday}
        for count, (name, value) in enumerate(changes):
            fields = {**fields, "clientEventId": str(uuid.UUID(int=unique + count)), name: value}
            use(Payload(fields, ENCODINGS[encoding]))
        use(Payload(sly.fields, SPELLINGS[spelling], sly.stored))

    make()
