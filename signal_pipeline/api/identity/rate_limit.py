"""The rate limit: 60 events a minute per person (requirement 3.7).

Counters are keyed by an HMAC that differs from day to day, never by a user id. They are in memory,
which the workers of one server share, or in a Redis that several servers share. Either way, a
person's count is of the events that were let through: all in this minute, plus a share of those in
the minute before. The share is the part of the earlier minute that is less than sixty seconds ago.
In memory, a minute is one of the clock. In Redis, a person's minutes begin with the person's first
event.

An event counts from before the store. The hits of a request that fails are given back, so that the
same events can be sent again. If the database is slow, it can still store events after their sender
got an error: the hits of such events stay counted.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol, cast

from limits import RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import MemoryStorage, SlidingWindowCounterSupport, storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter

from signal_pipeline.api.identity.storage_faults import refusal
from signal_pipeline.settings import SettingsError

logger = logging.getLogger(__name__)

EVENTS_PER_MINUTE = 60
STORAGE_SECONDS = 0.3  # How long an event waits for Redis.
# After an error, Redis is left alone for this long, so that not every event of a request waits.
PAUSE_SECONDS = 5.0
# Nothing is given back in the last second of a minute in Redis: the next minute could begin between
# the two commands, and its count would fall below zero.
LAST_SECONDS = 1.0
# Redis usually counts a hit within this time after the clock was read. A person's first hit begins
# a minute, and must not seem to be from before.
CLOCK_SECONDS = STORAGE_SECONDS
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

    def hit(self, key: bytes) -> int | None:
        """Count one event, and return the minute (from 1970); None if the limit is reached."""

    def give_back(self, key: bytes, minute: int) -> None:
        """Take back one event that was counted in this minute."""


@dataclass(frozen=True, slots=True)
class Hit:
    """An event that the limit let through.

    `counted_in` says when it was counted: in memory the minute from 1970, in Redis the second of
    the monotonic clock just before. It is None if Redis was away, and the event passed without
    being counted.
    """

    key: bytes
    counted_in: float | None


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

    async def hit(self, uid: str, today: date) -> Hit | None:
        """Count one event of a person, and return its hit; None if the limit is reached.

        If Redis is away the event passes, because a lost event is worse than one too many.
        """
        key = hmac.digest(self._secret, f"{today} {uid}".encode("utf-8", "surrogatepass"), "sha256")
        if self._memory is None:
            return await asyncio.to_thread(self._hit_storage, key)
        minute = self._memory.hit(key)
        return None if minute is None else Hit(key, minute)

    async def give_back(self, hits: Iterable[Hit]) -> None:
        """Take back the hits of events that could not be stored. Raises nothing.

        In Redis, a hit stays counted if a new minute of the person has begun since, or will begin
        within a second.
        """
        seconds: defaultdict[bytes, list[float]] = defaultdict(list)
        for hit in hits:
            if hit.counted_in is None:
                continue
            if self._memory is not None:
                self._memory.give_back(hit.key, int(hit.counted_in))
            else:
                seconds[hit.key].append(hit.counted_in)
        for key, counted in seconds.items():
            await asyncio.to_thread(self._give_back_to_storage, key, counted)

    def _hit_storage(self, key: bytes) -> Hit | None:
        # Not the time of the answer: a new minute can have begun by then, and the hit would be
        # taken back from that minute.
        now = time.monotonic()
        if now < self._paused_until:
            return Hit(key, None)
        try:
            return Hit(key, now) if self._limiter.hit(_LIMIT, key.hex()) else None
        except Exception as error:
            self._pause(error)
            return Hit(key, None)

    def _give_back_to_storage(self, key: bytes, counted: Sequence[float]) -> None:
        """Take back events of one key, of which each was counted at one of these seconds."""
        if time.monotonic() < self._paused_until:
            return
        storage = cast(SlidingWindowCounterSupport, self._limiter.storage)
        name, minute = _LIMIT.key_for(key.hex()), _LIMIT.get_expiry()
        try:
            *_, events, seconds_kept = storage.get_sliding_window(name, minute)
            now = time.monotonic()
            seconds_left = seconds_kept - minute  # It is kept for a minute more, as the last one.
            began = now + seconds_left - minute - CLOCK_SECONDS
            events = min(events, sum(second >= began for second in counted))
            if events and seconds_left > LAST_SECONDS:
                storage.acquire_sliding_window_entry(name, _LIMIT.amount, minute, -events)
        except Exception as error:
            self._pause(error)

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

    def hit(self, key: bytes) -> int | None:
        minute, second = divmod(time.time(), 60)
        if minute != self._minute:
            self._last_minute = self._this_minute if minute == self._minute + 1 else Counter()
            self._minute, self._this_minute = int(minute), Counter()
        if is_full(self._last_minute[key], self._this_minute[key], second):
            return None
        self._this_minute[key] += 1
        return self._minute

    def give_back(self, key: bytes, minute: int) -> None:
        counted = {self._minute: self._this_minute, self._minute - 1: self._last_minute}.get(minute)
        if counted and counted[key]:
            counted[key] -= 1


def is_full(last_minute: int, this_minute: int, second: float) -> bool:
    """Return whether the limit is reached at a second of this minute."""
    return int(last_minute * (1 - second / 60) + this_minute) >= EVENTS_PER_MINUTE
