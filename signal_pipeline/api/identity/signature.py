"""The gateway's canonical JSON, and its signature over a request.

Hive Gateway signs `{query, variables}` with HMAC-SHA256. Its JSON has object keys sorted by UTF-16
code unit at every depth, no blanks, JavaScript's escapes, and JavaScript's number format. Numbers
keep the literals of the wire, since Python prints some floats differently (`1e-07` for `1e-7`).

The signature proves that the gateway sent this query with these variables. It covers neither
headers nor extensions, and therefore says nothing about who the caller is.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
from typing import NoReturn

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class WireInt(int):
    """A whole number that remembers how it was written."""

    literal: str


class WireFloat(float):
    """A number that remembers how it was written."""

    literal: str


def _wire_int(literal: str) -> WireInt:
    number = WireInt(literal)
    number.literal = literal
    return number


def _wire_float(literal: str) -> WireFloat:
    number = WireFloat(literal)
    number.literal = literal
    return number


def _no_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


# A request can hold a hundred events with eighty values each. The signature needs every number as
# it was written, so Signal remembers this for each number and writes it again. With more values,
# that work would block the event loop for everybody, before it is known who is calling.
MAX_VALUES = 8_000

_BEFORE_VALUES = (b",", b"[", b"{")
# A text that is never closed reaches to the end of the body. Without the last `?` it would not
# match, and the search would begin again inside it.
_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_decode = json.JSONDecoder(
    parse_int=_wire_int, parse_float=_wire_float, parse_constant=_no_constant
).decode
_encode_text = json.encoder.encode_basestring


class TooManyValuesError(Exception):
    """The error for a body with more than MAX_VALUES values."""


def parse_wire_json(body: bytes) -> object:
    """Parse a body; its numbers keep their literals.

    Raises TooManyValuesError, RecursionError, or ValueError, which never repeats the body.
    """
    try:
        if _has_more_values(body, MAX_VALUES):
            raise TooManyValuesError
        return _decode(body.decode("utf-8"))
    except ValueError:
        raise ValueError("the body is not JSON in UTF-8") from None


def _has_more_values(body: bytes, limit: int) -> bool:
    """Return whether a body has more than `limit` values, without parsing them.

    Every value but the outermost follows a comma, or the bracket that opens a list or an object. An
    empty list or object is counted as if it held one value.
    """
    # This count settles most bodies. For the rest, texts are left out, since a text can hold the
    # same signs.
    if sum(map(body.count, _BEFORE_VALUES)) < limit:
        return False
    return sum(map(_TEXT.sub(b"", body).count, _BEFORE_VALUES)) >= limit


def canonical_json(value: object) -> str:
    """Return the canonical text of a parsed value.

    Raises RecursionError for a value that is nested too deep, and ValueError for a number that JSON
    cannot hold.
    """
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        # If every key is ASCII, sorting by code points gives the same order.
        keys = sorted(value) if all(map(str.isascii, value)) else sorted(value, key=_utf16)
        # Most values are texts: this saves a call for each.
        return (
            "{"
            + ",".join(
                [
                    f"{_text(key)}:"
                    f"{_text(item) if type(item := value[key]) is str else canonical_json(item)}"
                    for key in keys
                ]
            )
            + "}"
        )
    if isinstance(value, list):
        return "[" + ",".join([canonical_json(item) for item in value]) + "]"
    if isinstance(value, WireInt | WireFloat):
        return value.literal
    # true, false or null; or a number that is written in the GraphQL text itself.
    return json.dumps(value, allow_nan=False)


def _utf16(key: str) -> bytes:
    return key.encode("utf-16-be", "surrogatepass")


def _text(text: str) -> str:
    encoded = _encode_text(text)
    if encoded.isascii():
        return encoded
    return _LONE_SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", encoded)


def signature_of(secret: bytes, query: str, variables: object) -> str:
    """Return the base64 signature that the gateway makes of a request.

    Like the gateway, it leaves `variables` out of what is signed if they are empty.
    """
    signed: dict[str, object] = {"query": query}
    if variables:
        signed["variables"] = variables
    digest = hmac.digest(secret, canonical_json(signed).encode("utf-8", "surrogatepass"), "sha256")
    return base64.b64encode(digest).decode("ascii")


def signature_is_valid(secret: bytes, query: str, variables: object, signature: str) -> bool:
    """Return whether the gateway signed this query with these variables.

    Only the gateway shares the secret. Digests are compared in constant time.
    """
    try:
        digest = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(digest, base64.b64decode(signature_of(secret, query, variables)))
