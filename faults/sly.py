"""Payloads that must be accepted although a part of them is hostile, and the rows they become.

The rows are spelled out by hand from requirements 1 to 3, so this is an oracle of its own.
"""

from __future__ import annotations

import hmac
import itertools
import json
import unicodedata
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple

from hypothesis import strategies as st

from faults.oracle import HOSTS, MAC, TYPES, WINDOWS
from signal_pipeline.postgres.database import Connection

PER_QUERY = 5_000


class Agent(NamedTuple):
    """The buckets of a user agent; `major` is only used in the hash."""

    device: str
    browser: str
    major: str
    system: str

    @property
    def normalised(self) -> str:
        """Its part of the hash; a missing user agent is the empty string."""
        return "" if self == NOBODY else f"{self.browser}|{self.major}|{self.system}"


NOBODY = Agent("unknown", "unknown", "", "unknown")
ON_MAC, ON_WINDOWS = (
    Agent("desktop", "Chrome", "150", "macOS"),
    Agent("desktop", "Firefox", "140", "Windows"),
)
AGENTS: Sequence[tuple[str | None, Agent]] = (
    (MAC, ON_MAC),
    (WINDOWS, ON_WINDOWS),
    (None, NOBODY),
    ("", NOBODY),
    (" \t ", NOBODY),
    (f"  {MAC}  ", ON_MAC),
    (f"{MAC} {'A' * 30_000}", ON_MAC),
    (f"{MAC} {'(' * 4_000}", ON_MAC),
    (f"{MAC} '; drop table signal.events; -- $$ %s ${{jndi:ldap}}", ON_MAC),
    (f"{MAC} <script>alert(1)</script> \x01\x7f\xe9\xff", ON_MAC),
    (f"{WINDOWS} someone@private.example", ON_WINDOWS),
    (f"{MAC} Chrome/99999999", ON_MAC),
)
ADDRESSES: Sequence[tuple[str, str]] = (
    ("198.51.100.7", "198.51.100.7"),
    ("198.51.100.7:65535", "198.51.100.7"),
    (" 198.51.100.7 ", "198.51.100.7"),
    ("::ffff:198.51.100.7", "198.51.100.7"),
    ("::FFFF:C633:6407", "198.51.100.7"),
    ("[2001:0DB8:0:0:0:0:0:1]:443", "2001:db8::1"),
    ("2001:db8::0:1", "2001:db8::1"),
    ("fe80::1%eth0", "fe80::1"),
    ("999.999.999.999", ""),
    ("0x7f.1", ""),
    ("unknown", ""),
    ("'; drop table signal.events; --", ""),
    ("198.51.100.7" * 1_000, ""),
)
LINE_HOSTS: Sequence[tuple[str | None, str | None]] = (  # None is the app's own.
    (None, None),
    ("", None),
    ("ADMIN.Example.ORG.:8443", "admin.example.org"),
    (" admin.example.org", "admin.example.org"),
    ("[2001:DB8:0::1]:443", "[2001:db8::1]"),
    ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    (("a" * 50 + ".") * 5, ("a" * 50 + ".") * 4 + "a" * 50),
)
ROUTES: Sequence[tuple[str | None, str | None]] = (
    (None, None),
    ("/", "/"),
    ("/journeys/[journeyId]/edit", "/journeys/[journeyId]/edit"),
    ("/journeys?mail=someone@private.example&ip=198.51.100.7#part", "/journeys"),
    ("/#someone@private.example", "/"),
    ("/?" + "x" * 254, "/"),
    ("/日本語/編集", "/日本語/編集"),
    ("/İstanbul/ﬁne", "/İstanbul/ﬁne"),
    ("/'; drop table signal.events; --", "/'; drop table signal.events; --"),
    ("/$$; copy signal.events to program 'id'; $$", "/$$; copy signal.events to program 'id'; $$"),
    ("/<script>alert()</script>", "/<script>alert()</script>"),
    ("/../../etc/passwd", "/../../etc/passwd"),
    ("/ab" * 85 + "/", "/ab" * 85 + "/"),
    ("/people/someone@private.example/edit", "/people/[id]/edit"),
    ("/people/someone%40private.example", "/people/[id]"),
    ("/people/12345", "/people/[id]"),
    ("/people/7B0E7A8E-6F0E-4D0C-9A3E-0D6F0C7F1C11/x", "/people/[id]/x"),
    ("/people/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/people/[id]"),  # pragma: allowlist secret
    ("/from/198.51.100.7", "/from/[id]"),
    ("/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "/[id]"),  # pragma: allowlist secret
    ("/reset%3Ftoken%3Dabc", "/reset"),
    ("/reset%253ftoken=abc/x", "/reset"),
    ("/reset\uff1ftoken=abc", "/reset"),
    ("/reset%23token=abc", "/reset"),
    ("/reset;token=abc/x", "/[id]/x"),
    ("/adm\u202ein/\u200bx\ufeff", "/admin/x"),
    ("/people/someone\u2060@private.example", "/people/[id]"),
    ("/a%0D%0Ab/x", "/[id]/x"),
)
# Ids next to the nil and the max UUID, which are no ids.
SESSIONS = (
    None,
    None,
    str(uuid.UUID(int=1)),
    str(uuid.UUID(int=2**128 - 2)),
    str(uuid.UUID(int=2**127)),
)
HARMLESS_KEYS = (
    "note",
    "deep",
    "",
    "templateName",
    "<b>",
    "'; drop table signal.events; --",
    "ключ",
    "__proto__",
    "a" * 200,
    "eventsPerUser",
    "is_owner",
    "EMAIL-VERIFIED",
    "sidebarOpen",
    "raceCondition",
    "coordinateSystem",
    "sortedBy",
)
HARMLESS_TEXTS = (
    "",
    " ",
    "\u202eevil",
    "\ufeff",
    "İ" * 40,
    "'; drop table signal.events; --",
    "\\'); select pg_sleep(9); --",
    "$$; copy signal.events to program 'id'; $$",
    "%s %(x)s %n",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "\\u0000 is six letters",
    "\x01\x1f\x7f",
    "name",
    "1.2.3 and 10:30",
    "@handle",
    "\U0001f600",
    # These differ by one digit, letter or sign from a private text.
    "4111111111111112",
    "DE88 3704 0044 0532 0130 00",
    "+1 202 555 012",
    "00:1a:2b:3c:4d",
    "0.5234, 0.4821",
    "1.2.0+20261123101530",
    "what? a=b",
    "https://www.example.org/a#part",
    # Longer than a time of ours, and not a time.
    "2026-11-20T23:59:59.9999999Z",
)
NUMBERS = (
    4111111111111112,
    0,
    -1,
    2**53 + 1,
    2**63 - 1,
    -(2**63),
    2**64 - 1,
    1.5,
    -0.0,
    1e308,
    5e-324,
    0.1,
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


@dataclass(frozen=True, slots=True)
class Stored:
    """The values that a row must have; if `created_at` is None, the server's clock decides."""

    app_name: str
    event_type: str
    route: str | None
    entity_id: str | None
    session_id: str | None
    description: str | None
    agent: Agent
    address: str
    host: str
    created_at: datetime | None

    def as_on_the_wire(self) -> Stored:
        """Return what the same payload becomes over HTTP.

        There the server uses its own clock, and the app's host.
        """
        return replace(self, host=HOSTS[self.app_name], created_at=None)


class Sly(NamedTuple):
    """A payload's fields as a line states them, and the row that this line must become."""

    fields: dict[str, object]
    stored: Stored


def sly_payloads(now: datetime, at_seed: int) -> st.SearchStrategy[Sly]:
    """Return payloads that must be accepted; another seed gives other ids."""
    # The numbers are not drawn, since an example that is repeated must not be a duplicate.
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


def differences(connection: Connection, secret: str, expected: Mapping[str, Stored]) -> list[str]:
    """Return what is wrong with the rows of these ids, one sentence for each that differs.

    The sentences name columns, not values.
    """
    found, keys = [], list(expected)
    for ids in (keys[at : at + PER_QUERY] for at in range(0, len(keys), PER_QUERY)):
        rows = connection.execute(
            "select client_event_id::text, app_name, event_type, route, entity_id,"
            " session_id::text, description::text, device_type, browser_family, os_family,"
            " created_at, user_hash from signal.events where client_event_id = any(%s::uuid[])",
            [ids],
        ).fetchall()
        kept = {str(row[0]): row[1:] for row in rows}
        found += [f"{key}: not stored" for key in ids if key not in kept]
        found += [
            f"{key}: {', '.join(wrong)}"
            for key, row in kept.items()
            if (wrong := _wrong(row, expected[key], secret))
        ]
    return found


def _wrong(row: tuple[Any, ...], wanted: Stored, secret: str) -> list[str]:
    (
        app_name,
        event_type,
        route,
        entity,
        session,
        description,
        device,
        browser,
        system,
        created_at,
        user_hash,
    ) = row
    salt = hmac.digest(
        secret.encode(), created_at.astimezone(UTC).date().isoformat().encode(), "sha256"
    )
    person = f"{wanted.host}\x1f{wanted.address}\x1f{wanted.agent.normalised}"
    pairs = {
        "app_name": (app_name, wanted.app_name),
        "event_type": (event_type, wanted.event_type),
        "route": (route, wanted.route),
        "entity_id": (entity, wanted.entity_id),
        "session_id": (session, wanted.session_id),
        "description": (_exact(description), _exact(wanted.description)),
        "agent": (
            (device, browser, system),
            (wanted.agent.device, wanted.agent.browser, wanted.agent.system),
        ),
        "created_at": (created_at, wanted.created_at or created_at),
        "user_hash": (bytes(user_hash), hmac.digest(salt, person.encode(), "sha256")),
    }
    return [name for name, (stored, right) in pairs.items() if stored != right]


def _exact(text: str | None) -> object:
    return None if text is None else json.loads(text, parse_int=Decimal, parse_float=Decimal)
