"""The rate limit: 60 events a minute per person (requirement 3.7).

Counters are keyed by an HMAC that differs from day to day, never by a user id. They are in memory,
which the workers of one server share, or in a Redis that several servers share. Either way, a
person's count is of the events that were let through: all in this minute, plus a share of those in
the minute before. The share is the part of the earlier minute that is less than sixty seconds ago.
In memory, a minute is one of the clock. In Redis, a person's minutes begin with the person's first
event.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import time
from collections import Counter
from datetime import date
from typing import Any, Protocol

from limits import RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter

from signal_pipeline.api.identity.storage_faults import refusal
from signal_pipeline.settings import SettingsError

logger = logging.getLogger(__name__)

EVENTS_PER_MINUTE = 60
STORAGE_SECONDS = 0.3  # How long an event waits for Redis.
# After an error, Redis is left alone for this long, so that not every event of a request waits.
PAUSE_SECONDS = 5.0
_STORAGE_OPTIONS: dict[str, Any] = {  # Any: the library passes them to the storage's own client.
    "socket_timeout": STORAGE_SECONDS,
    "socket_connect_timeout": STORAGE_SECONDS,
    "retry": None,
}
_LIMIT = RateLimitItemPerMinute(EVENTS_PER_MINUTE)
_UNUSABLE = (
    "SIGNAL_RATE_LIMIT_URL: this storage cannot be used; write redis://host:port/0 and install"
    " signal-pipeline[redis]"
)


class Window(Protocol):
    """Counters in memory of the events of the last minute."""

    def hit(self, key: bytes) -> bool:
        """Count one event, unless the limit is reached, and return whether it is counted."""


class RateLimit:
    """The counters of each person's events over the last minute.

    Without a URL they are in `window`, by default in the memory of this process alone. Raises
    SettingsError for a URL that cannot be used; `check_storage` finds the mistakes that show only
    in use.
    """

    def __init__(self, secret: bytes, url: str | None = None, window: Window | None = None) -> None:
        self._secret = hmac.digest(secret, b"signal/rate-limit", "sha256")
        self._paused_until = float("-inf")
        self._memory = (window or _MemoryWindow()) if url is None else None
        if url is None:
            return
        try:
            storage = storage_from_string(url, wrap_exceptions=True, **_STORAGE_OPTIONS)
            self._limiter = SlidingWindowCounterRateLimiter(storage)
        # The library, and each storage's client, have errors of their own for what they cannot use.
        except Exception:
            raise SettingsError(_UNUSABLE) from None
        if window is not None and isinstance(storage, MemoryStorage):
            raise SettingsError(
                "SIGNAL_RATE_LIMIT_URL: each worker would count in a memory of its own: leave it"
                " empty, and they share one"
            )

    def check_storage(self) -> None:
        """Count two events of nobody, because some mistakes in the URL show only when it is used.

        The second event needs other Redis commands than the first. Raises SettingsError for a URL
        with which nothing can be counted, and for a Redis that refuses Signal. Raises nothing for a
        Redis that is away, because it can come back.
        """
        if self._memory is not None:
            return
        key = secrets.token_hex()
        try:
            for _ in range(2):
                self._limiter.hit(_LIMIT, key)
        except StorageError as error:
            if wrong := refusal(error.storage_error):
                raise SettingsError(f"SIGNAL_RATE_LIMIT_URL: {wrong}") from None
            self._pause(error)
        except Exception:
            raise SettingsError(_UNUSABLE) from None

    async def allows(self, uid: str, today: date) -> bool:
        """Count one event of a person unless the limit is reached, and return whether it may pass.

        If Redis is away the event passes, because a lost event is worse than one too many.
        """
        key = hmac.digest(self._secret, f"{today} {uid}".encode("utf-8", "surrogatepass"), "sha256")
        if self._memory is not None:
            return self._memory.hit(key)
        return await asyncio.to_thread(self._hit_storage, key.hex())

    def _hit_storage(self, key: str) -> bool:
        if time.monotonic() < self._paused_until:
            return True
        try:
            return self._limiter.hit(_LIMIT, key)
        except Exception as error:
            self._pause(error)
            return True

    def _pause(self, error: Exception) -> None:
        self._paused_until = time.monotonic() + PAUSE_SECONDS
        cause = error.storage_error if isinstance(error, StorageError) else error
        wrong = refusal(cause)
        logger.log(
            logging.ERROR if wrong else logging.WARNING,
            "SIGNAL_RATE_LIMIT_URL: %s (%s): events pass unlimited for %d s",
            wrong or "the rate limit's storage does not count now",
            type(cause).__name__,
            PAUSE_SECONDS,
        )


class _MemoryWindow:
    """A window in the memory of this process alone.

    The library's own version starts a thread every 10 ms that goes through all keys.
    """

    def __init__(self) -> None:
        self._minute = 0
        self._this_minute: Counter[bytes] = Counter()
        self._last_minute: Counter[bytes] = Counter()

    def hit(self, key: bytes) -> bool:
        minute, second = divmod(time.time(), 60)
        if minute != self._minute:
            self._last_minute = self._this_minute if minute == self._minute + 1 else Counter()
            self._minute, self._this_minute = int(minute), Counter()
        if is_full(self._last_minute[key], self._this_minute[key], second):
            return False
        self._this_minute[key] += 1
        return True


def is_full(last_minute: int, this_minute: int, second: float) -> bool:
    """Return whether the limit is reached at a second of this minute."""
    return int(last_minute * (1 - second / 60) + this_minute) >= EVENTS_PER_MINUTE
