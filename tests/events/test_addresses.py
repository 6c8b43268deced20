"""Canonical addresses and hosts: RFC 5952's own examples, and invariants over random ones."""

from __future__ import annotations

import ipaddress
import re
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signal_pipeline.events.addresses import canonical_host, canonical_ip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1\t", "192.0.2.1"),
        ("192.0.2.1:8080", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:C000:0201", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:443", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]:80", "fe80::1"),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("::", "::"),
        # RFC 5952 sections 4.1 to 4.3
        ("2001:0db8::0001", "2001:db8::1"),
        ("2001:db8:0:0:0:0:2:1", "2001:db8::2:1"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
        ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("2001:DB8:AAAA::B", "2001:db8:aaaa::b"),
    ],
)
def test_canonical_text(text: str, expected: str) -> None:
    assert canonical_ip(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "   ",
        "-",
        "unknown",
        "localhost",
        "1.2.3",
        "1.2.3.4.5",
        "256.1.1.1",
        "01.2.3.4",
        "1.2.3.4:",
        "1.2.3.4:http",
        "1.2.3.4:123456",
        "1.2.3.4%eth0",
        "1.2.3.4, 5.6.7.8",
        "[1.2.3.4]",
        "[::1",
        "::1]",
        "[::1]x",
        "[[::1]]",
        "2001:db8::1::2",
        "12345::",
        "\u0661.\u0662.\u0663.\u0664",
        "\uff11.2.3.4",
        "1。2。3。4",
        "1.2.3.4\n5",
        "\ud800",
        "1." * 50_000,
        "[" * 5_000,
        "%" * 5_000,
    ],
)
def test_missing_or_invalid_is_empty(text: str | None) -> None:
    assert canonical_ip(text) == ""


@given(st.ip_addresses(v=4), st.integers(0, 65535))
def test_every_ipv4_in_every_spelling(address: ipaddress.IPv4Address, port: int) -> None:
    expected = socket.inet_ntop(socket.AF_INET, address.packed)
    for text in (f"{address}", f"{address}:{port}", f"::ffff:{address}", f"[::FFFF:{address}]:1"):
        assert canonical_ip(text) == expected


@given(st.ip_addresses(v=6))
def test_every_ipv6_is_one_text_and_comes_back(address: ipaddress.IPv6Address) -> None:
    canonical = canonical_ip(address.exploded.upper())
    assert canonical == canonical_ip(f"[{address.compressed}%1]:65535")
    assert canonical_ip(canonical) == canonical
    # RFC 5952: lower case, no leading zeros, the longest run of zeros shortened.
    if "." not in canonical:
        assert ipaddress.ip_address(canonical) == address
        assert re.fullmatch(r"(?:0|[1-9a-f][0-9a-f]*|:|)+", canonical)
        assert canonical.count("::") == (":0:0:" in f":{_without_zeros(address)}:")


def _without_zeros(address: ipaddress.IPv6Address) -> str:
    return ":".join(f"{int(group, 16):x}" for group in address.exploded.split(":"))


@given(st.text(max_size=60))
def test_any_text_gives_an_address_or_nothing(text: str) -> None:
    canonical = canonical_ip(text)
    if canonical:
        ipaddress.ip_address(canonical)
        assert canonical.isascii()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("admin.example.org", "admin.example.org"),
        ("Admin.EXAMPLE.org", "admin.example.org"),
        ("admin.example.org:443", "admin.example.org"),
        ("admin.example.org.", "admin.example.org"),
        ("admin.example.org.:443", "admin.example.org"),
        (" admin.example.org ", "admin.example.org"),
        ("localhost:3000", "localhost"),
        ("my_host", "my_host"),
        ("[2001:DB8:0::1]:8443", "[2001:db8::1]"),
        ("MÜNCHEN.example", "münchen.example"),
        ("a" * 255, "a" * 255),
        ("a" * 255 + ".:80", "a" * 255),
    ],
)
def test_canonical_host(text: str, expected: str) -> None:
    assert canonical_host(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ".",
        ":443",
        "a\x1fb",
        "a\nb",
        "a\x00",
        "a\x7f",
        "a\x85",
        "a b",
        "a\u2028b",
        "a\ud800",
        "a:b",
        "a:80:90",
        "a:443.",
        "::1",
        "[]",
        "[nope]",
        "[::1",
        "https://a",
        "u@a",
        "a/b",
        "a" * 256,
    ],
)
def test_a_bad_host_is_refused_without_being_told(text: str) -> None:
    with pytest.raises(ValueError, match="the host") as caught:
        canonical_host(text)
    assert len(text) < 3 or text not in str(caught.value)


@given(st.text(max_size=80) | st.from_regex(r"[A-Za-z0-9.:\-\[\]]{1,40}", fullmatch=True))
def test_a_canonical_host_is_stable_and_safe_to_join(text: str) -> None:
    try:
        host = canonical_host(text)
    except ValueError:
        return
    assert canonical_host(host) == host
    assert host
    assert "\x1f" not in host
    assert not host.endswith(".")
    host.encode("utf-8")
