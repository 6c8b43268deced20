"""The rate limit: 60 events a minute per person (requirements section 3, step 7).

Counters are keyed by an HMAC under a key of the day, never by a user id, in memory or in a Redis that several processes share.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from datetime import date

from limits import RateLimitItemPerMinute
from limits.errors import ConfigurationError, StorageError
from limits.storage import storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter

from signal_pipeline.settings import SettingsError

logger = logging.getLogger(__name__)

EVENTS_PER_MINUTE = 60
_LIMIT = RateLimitItemPerMinute(EVENTS_PER_MINUTE)


class RateLimit:
    """Counts the events of each person over the last minute. Raises SettingsError for a URL that cannot be used."""

    def __init__(self, secret: bytes, url: str | None = None) -> None:
        self._secret = hmac.digest(secret, b"signal/rate-limit", "sha256")
        self._local = url is None
        try:
            self._limiter = SlidingWindowCounterRateLimiter(
                storage_from_string(url or "memory://", wrap_exceptions=True)
            )
        except (ConfigurationError, ImportError):
            raise SettingsError(
                "SIGNAL_RATE_LIMIT_URL: not a storage that can be used; write redis://host:port/0 and install"
                " signal-pipeline[redis]"
            ) from None

    async def allows(self, uid: str, today: date) -> bool:
        """Count one event of a person, and say whether it is within the limit.

        When Redis is away the event passes: a lost event is worse than one too many.
        """
        key = hmac.digest(self._secret, f"{today} {uid}".encode("utf-8", "surrogatepass"), "sha256").hex()
        if self._local:
            return self._limiter.hit(_LIMIT, key)
        try:
            return await asyncio.to_thread(self._limiter.hit, _LIMIT, key)
        except StorageError:
            logger.warning("the rate limit's storage does not answer: events pass unlimited")
            return True
