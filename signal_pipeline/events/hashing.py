"""The daily user hash (requirement 2.2), and the event id of a line that has none (requirement 1).

The module computes HMACs under the secret and under a day's salt. `addresses.py` and
`user_agents.py` make the inputs canonical, and the caller brings the secret. Salts are derived when
needed and never stored.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import date, datetime
from uuid import UUID

from signal_pipeline.errors import SignalError

MINIMUM_SECRET_BYTES = 32

_REMEDY = "generate one with `openssl rand -hex 32`"

_KEY_ID_MESSAGE = b"signal/key-id"
_EVENT_ID_MESSAGE = b"signal/event-id"

# RFC 2104 pads the key to one block of SHA-256, and XORs each byte with 0x36 or 0x5C. These are the
# tables with which `bytes.translate` does that.
_BLOCK_BYTES = 64
_INNER_PAD = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD = bytes(byte ^ 0x5C for byte in range(256))


class WeakSecretError(SignalError):
    """The error for a secret that is too short or not valid text.

    The message never reveals anything about the secret.
    """


def check_secret(secret: str) -> bytes:
    """Return the secret's UTF-8 bytes. Hexadecimal or base64 text is not decoded.

    Raises WeakSecretError below 32 bytes, or if the text has no UTF-8 form.
    """
    try:
        encoded = secret.encode("utf-8")
    except UnicodeEncodeError:
        # `from None`: the original error carries the whole secret.
        raise WeakSecretError(f"SIGNALS_SALT_SECRET is not valid UTF-8 text; {_REMEDY}") from None
    if len(encoded) < MINIMUM_SECRET_BYTES:
        raise WeakSecretError(
            f"SIGNALS_SALT_SECRET has fewer than {MINIMUM_SECRET_BYTES} bytes; {_REMEDY}"
        )
    return encoded


def daily_salt(secret: bytes, day: date) -> bytes:
    """Return the 32-byte key of one UTC date's hashes: HMAC-SHA256(secret, "YYYY-MM-DD")."""
    if isinstance(day, datetime):
        raise TypeError("a day is a date, not a datetime; the caller must choose the UTC date")
    return _hmac_sha256(secret, day.isoformat().encode())


def key_id(secret: bytes) -> str:
    """Return the first 8 hexadecimal digits of HMAC(secret, "signal/key-id").

    They tell two secrets apart, and reveal neither.
    """
    return _hmac_sha256(secret, _KEY_ID_MESSAGE).hex()[:8]


class DayHasher:
    """The hashes of one UTC date.

    It holds keyed hash states instead of the salt, and copies them for each event. The two states
    of the user hash are HMAC-SHA256 written out (RFC 2104): `hmac.new(...).copy()` gives the same
    bytes, but takes twice as long for every event.
    """

    __slots__ = ("_event_ids", "_inner", "_outer")

    def __init__(self, secret: bytes, day: date) -> None:
        salt = daily_salt(secret, day)
        block = salt.ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(block.translate(_INNER_PAD))
        self._outer = hashlib.sha256(block.translate(_OUTER_PAD))
        # Event ids have a key of their own, so that no line can ever yield the bytes of a user
        # hash.
        self._event_ids = hmac.new(_hmac_sha256(salt, _EVENT_ID_MESSAGE), digestmod="sha256")

    def user_hash(self, host: str, ip: str, normalised_ua: str) -> bytes:
        """Return 32 bytes that are the same for the same three canonical inputs on this day.

        `ip` and `normalised_ua` are empty if missing. None of the three can hold U+001F, which
        separates them.
        """
        inner = self._inner.copy()
        inner.update(f"{host}\x1f{ip}\x1f{normalised_ua}".encode())
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()

    def event_id(self, canonical_line: bytes) -> UUID:
        """Return an id for a line that has none; the same line always gets the same id.

        It is a UUID of version 8 (RFC 9562) with 122 bits of an HMAC.
        """
        state = self._event_ids.copy()
        state.update(canonical_line)
        number = int.from_bytes(state.digest()[:16], "big")
        number = number & ~(0xF << 76) | 0x8 << 76
        number = number & ~(0x3 << 62) | 0x2 << 62
        return UUID(int=number)


def _hmac_sha256(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")
