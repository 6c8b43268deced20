"""Personal data in a description: found at any depth and in any disguise."""

from __future__ import annotations

import base64
import ipaddress
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signal_pipeline.events.pii import holds_pii

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: {"a": v}, lambda v: [[{"b": [1, v]}]]])
@pytest.mark.parametrize("value", [{"email": 1}, "jane@example.org", {"jane@example.org": 1}, JWT])
def test_found_at_any_depth(wrap: Any, value: object) -> None:
    assert holds_pii(wrap(value))
    assert holds_pii({"x": wrap(wrap(wrap(value)))})


PRIVATE_TEXTS = (
    "jane@example.org",
    "Jane.Doe+tag@mail.example.co.uk",
    "write to jane@example.org.",
    "<jane@example.org>",
    "mailto:jane@example.org?subject=x",
    '"jane doe"@example.org',
    "jane@пример.рф",
    "jane@xn--e1afmkfd.xn--p1ai",
    "user@[192.0.2.1]",
    "192.0.2.1",
    "from 192.0.2.1, twice",
    "http://192.0.2.1:8080/x",
    "ip.192.0.2.1",
    "192.168.001.001",
    "2001:db8::1",
    "[2001:db8::1]:443",
    "ip:2001:db8::1",
    "addr_2001:db8::1",
    "2001:0db8:0000:0000:0000:0000:0000:0001",
    "fe80::1%eth0",
    "::1",
    "::ffff:192.0.2.1",
    "fe80::.",
    "100::1",
    "64:ff9b::1",
    "a::b:c",
    "icon@2x.png.org",
    "jane@2x.pn",
    "john&#64;example.com",
    "john&commat;example&period;com",
    '{"email": "jane"}',
    '{"\\u0065mail": "jane"}',
    '{"a": [{"First-Name" : 1}]}',
    '"{\\"payload\\": {\\\\\\"userId\\\\\\": 1}}"',
    JWT,
    f"Bearer {JWT}",
    f"https://x.example/#token={JWT}&y=1",
    f"www.{JWT}",
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.",
    "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..aXY.Y2lwaGVy.dGFn",
)


@pytest.mark.parametrize("text", PRIVATE_TEXTS)
def test_private_texts_are_found_as_value_and_as_key(text: str) -> None:
    assert holds_pii({"note": text})
    assert holds_pii({text: 1})
    assert holds_pii({"note": f"so {text} it is"})


@pytest.mark.parametrize("text", PRIVATE_TEXTS)
def test_private_texts_are_found_in_disguise(text: str) -> None:
    once = "".join(f"%{byte:02X}" for byte in text.encode())
    twice = quote(once)
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)
    hidden = "\u200b".join(text)
    numbers = "".join(f"&#{ord(c)};" for c in text)
    escaped = "".join(f"\\u{ord(c):04x}" for c in text)
    more = (numbers, numbers.replace("&", "&amp;"), "".join(f"&#x{ord(c):X};" for c in text))
    for disguise in (
        once,
        twice,
        wide,
        hidden,
        quote(wide),
        *more,
        escaped,
        escaped.replace("\\", "\\\\"),
    ):
        assert holds_pii([disguise]), disguise


def test_digits_of_other_scripts_are_read() -> None:
    assert holds_pii("\u0661\u0669\u0662.0.2.\u0661")


@pytest.mark.parametrize(
    "text",
    [
        *("", "French", "中文", "العربية", "Español", "français (Canada)", "zh-Hans-CN", "100 %"),
        *("@media", "a @ b", "@jane", "5@3", "12:30", "12:34:56", "2026-11-23T12:34:56.789Z"),
        *("a::b", "10::30", "at a::b.", "icon@2x.png", "see icon@1.5x.webp.", '{"page": "x"}'),
        *("R&D", "a&b=c&copy=1", "&#;", "C:\\users", "section 2::3", "fish &amp; chips"),
        *("1.2.3", "120.0.6099.109", "1.2.3.4.5.6", "std::vector", "a::before", "::", "x :: y"),
        *("www.example.org", "eyewitness.report.example", "a.b.c", "e.g. this", "%", "%zz", "50%"),
        *("550e8400-e29b-41d4-a716-446655440000", "eyJhbGciOiJIUzI1NiJ9"),
        "\ud800",
    ],
)
def test_ordinary_texts_pass(text: str) -> None:
    assert not holds_pii({"note": text})


def test_other_values_pass() -> None:
    assert not holds_pii({"a": [None, True, 1, 1.5, 10**30, {}, []]})
    assert not holds_pii(None)
    assert not holds_pii({"language": "Swahili"})


@pytest.mark.parametrize("inner", ["jane@example.org", "jane"])
def test_depth_does_not_matter(inner: str) -> None:
    value: object = inner
    for level in range(100_000):
        value = [value] if level % 2 else {"a": value}
    assert holds_pii(value) is ("@" in inner)
    while isinstance(value, (list, dict)):  # taken apart by hand: freeing it recursively is slow
        value = value.pop() if isinstance(value, list) else value.pop("a")


@given(st.ip_addresses(), st.text(" ,;=/()\"'<>", max_size=3))
def test_every_address_is_found(address: ipaddress.IPv4Address, around: str) -> None:
    if str(address) == "::":
        return
    assert holds_pii(f"seen{around} {address} {around}")
    assert holds_pii(f"[{address.exploded}]")


@given(st.emails(domains=st.sampled_from(["example.org", "a-b.example", "x.y.museum"])))
def test_every_email_is_found(email: str) -> None:
    assert holds_pii({"a": email})


@given(
    st.dictionaries(
        st.sampled_from(["alg", "typ", "kid", "cty"]), st.text(max_size=10), min_size=1
    ),
    st.sampled_from([None, 1]),
    st.binary(max_size=40),
)
def test_every_jwt_is_found(header: dict[str, str], indent: int | None, rest: bytes) -> None:
    head = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", **header}, indent=indent).encode())
    tail = base64.urlsafe_b64encode(rest)
    token = b".".join(part.rstrip(b"=") for part in (head, tail, tail)).decode()
    assert holds_pii(f"x {token}")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(json_values)
def test_any_value_is_judged_and_wrapping_keeps_the_verdict(value: object) -> None:
    verdict = holds_pii(value)
    assert holds_pii([{"q": value}]) is verdict


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("a@" * 40_000, False),
        ("a@b." * 20_000, False),
        ("a@" + "b." * 40_000 + "1", False),
        ("eyJ" * 30_000, False),
        ("1." * 40_000, False),
        ("a:" * 40_000, False),
        ("%25" * 30_000, False),
        ("&#" + "0" * 80_000 + "64;", False),
        ("&" * 80_000, False),
        ("\\" * 80_000, False),
        ("&#64" * 20_000, False),
        ("%25" * 30_000 + "40", False),
    ],
)
def test_long_hostile_texts_are_judged(text: str, verdict: bool) -> None:
    # Quadratic work on one of these would take minutes.
    assert holds_pii({"a": text}) is verdict
