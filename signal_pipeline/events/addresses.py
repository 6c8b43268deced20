"""The canonical text of an address and of a host, two of the three inputs of the user hash.

This is requirement 2.3. The module turns text into canonical text; it does not decide which header
or peer the text comes from. Nothing is cached here, because nothing keyed by an address may outlive
the call, the connection or the file that the address came with (requirement 2.8).
"""

from __future__ import annotations

import ipaddress
import re
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

MAXIMUM_HOST_CHARACTERS = 255

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(rf"({_OCTET}(?:\.{_OCTET}){{3}})(?::[0-9]{{1,5}})?")
_BRACKETED_IPV6 = re.compile(r"\[([^\[\]]+)\](?::[0-9]{1,5})?")
# The longest text of an IPv6 address has 45 characters; a zone can follow.
_LONGEST_ADDRESS = 128

_CANONICAL_HOST = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*")
_HOST_AND_PORT = re.compile(r"(\[[^\[\]]+\]|[^:\[\]/\\@?#]+)(?::[0-9]{0,5})?")


def canonical_ip(text: str | None) -> str:
    """Return the canonical text of an IPv4 or IPv6 address, or "" for a missing or invalid one.

    IPv4 and IPv4-mapped IPv6 are written with dots, other IPv6 as in RFC 5952. Surrounding blanks,
    a port (`1.2.3.4:80`, `[::1]:80`) and a zone (`fe80::1%eth0`) are removed.
    """
    if not text:
        return ""
    plain = _plain_address(text)
    if plain is not None:
        return plain
    text = text.strip()
    dotted = _IPV4.fullmatch(text)
    if dotted:
        return dotted[1]
    if len(text) > _LONGEST_ADDRESS:
        return ""
    bracketed = _BRACKETED_IPV6.fullmatch(text)
    if bracketed:
        text = bracketed[1]
    try:
        address = ipaddress.IPv6Address(text.partition("%")[0])
    except ValueError:
        return ""
    return str(address.ipv4_mapped or address.compressed)


def _plain_address(text: str) -> str | None:
    """Return the canonical text of a bare address, or None if `canonical_ip` must look closer.

    The system's own functions are several times faster than `ipaddress`. An IPv6 address that they
    print with dots holds an IPv4 address. `canonical_ip` writes such an address differently, so
    their text is not used.
    """
    try:
        if ":" not in text:
            return inet_ntop(AF_INET, inet_pton(AF_INET, text))
        canonical = inet_ntop(AF_INET6, inet_pton(AF_INET6, text))
    except (OSError, ValueError):
        return None
    return None if "." in canonical else canonical


def canonical_host(text: str) -> str:
    """Return a host in lower case, without surrounding blanks, port or final dot.

    Raises ValueError if the text holds control characters or blanks, is empty, or is not a host of
    at most 255 characters, which a port can follow. The error does not repeat the text.
    """
    if len(text) <= MAXIMUM_HOST_CHARACTERS and _CANONICAL_HOST.fullmatch(text):
        return text
    text = text.strip(" \t")
    if not text.isprintable() or " " in text:
        raise ValueError("the host holds control characters or blanks")
    parts = _HOST_AND_PORT.fullmatch(text)
    if parts is None:
        raise ValueError("the host is empty or is not a host name with at most a port")
    host = parts[1].rstrip(".").lower()
    if host.startswith("["):
        host = f"[{canonical_ip(host)}]"
    if host in ("", "[]"):
        raise ValueError("the host is empty or not an address")
    if len(host) > MAXIMUM_HOST_CHARACTERS:
        raise ValueError(f"the host has more than {MAXIMUM_HOST_CHARACTERS} characters")
    return host
