"""What sly payloads are made of: values that look hostile but are allowed.

If a value is stored in another form, that form stands beside it, spelled out by hand.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import NamedTuple

from faults.oracle import MAC, WINDOWS


class Agent(NamedTuple):
    """The buckets of a user agent; `major` is only used in the hash."""

    device: str
    browser: str
    major: str
    system: str

    @property
    def normalised(self) -> str:
        """The user agent's part of the hash's input; the empty string if there is no user agent."""
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
LINE_HOSTS: Sequence[tuple[str | None, str | None]] = (  # None becomes the app's own host.
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
# The nil and the max UUID are not valid ids, but the ids next to them are.
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
    # It has more digits than a time that Signal stores; in a description it is only a text.
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
