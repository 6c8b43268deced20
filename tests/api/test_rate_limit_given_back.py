"""What the rate limit has counted can be given back, in memory and in Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
import redis
from limits.strategies import SlidingWindowCounterRateLimiter

from signal_pipeline.api.identity import rate_limit
from signal_pipeline.api.identity.rate_limit import EVENTS_PER_MINUTE, Hit, RateLimit
from signal_pipeline.api.identity.shared_window import SharedWindow

SECRET = b"s" * 32
TODAY = date(2026, 3, 4)
MINUTE = 29_000_000 * 60.0
IN_MEMORY: dict[str, Callable[[], RateLimit]] = {
    "memory": lambda: RateLimit(SECRET),
    "shared memory": lambda: RateLimit(SECRET, window=SharedWindow()),
}


def hit(limit: RateLimit, events: int = 1, uid: str = "one") -> list[Hit]:
    """Send so many events, and return the hits of those that pass."""

    async def send() -> list[Hit | None]:
        return [await limit.hit(uid, TODAY) for _ in range(events)]

    return [each for each in asyncio.run(send()) if each is not None]


def give_back(limit: RateLimit, hits: list[Hit]) -> None:
    asyncio.run(limit.give_back(hits))


@pytest.fixture(params=[*IN_MEMORY, "redis"])
def limit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> RateLimit:
    """Each storage's limit, in the middle of a minute of the clock."""
    if request.param == "redis":
        return RateLimit(SECRET, f"redis://127.0.0.1:{request.getfixturevalue('redis_port')}/0")
    monkeypatch.setattr("time.time", lambda: MINUTE + 30)
    return IN_MEMORY[request.param]()


def test_events_that_were_not_stored_can_be_sent_again(limit: RateLimit) -> None:
    for _ in range(4):
        hits = hit(limit, EVENTS_PER_MINUTE)
        assert len(hits) == EVENTS_PER_MINUTE
        give_back(limit, hits)


def test_events_under_way_count_until_they_are_given_back(limit: RateLimit) -> None:
    """However many requests fail, a person never has more events under way than the limit."""
    hits = hit(limit, EVENTS_PER_MINUTE)
    assert hit(limit) == []
    give_back(limit, hits[:5])
    assert len(hit(limit, 2 * EVENTS_PER_MINUTE)) == 5


def test_only_what_was_counted_is_given_back(limit: RateLimit) -> None:
    kept, failed = hit(limit, 20), hit(limit, 20)
    others = hit(limit, EVENTS_PER_MINUTE, uid="other")
    give_back(limit, failed)
    assert len(hit(limit, 2 * EVENTS_PER_MINUTE)) == EVENTS_PER_MINUTE - len(kept)
    assert len(others) == EVENTS_PER_MINUTE
    assert hit(limit, uid="other") == []


def test_no_count_falls_below_zero(limit: RateLimit) -> None:
    hits = hit(limit, 20)
    for _ in range(3):
        give_back(limit, hits)
    assert len(hit(limit, 2 * EVENTS_PER_MINUTE)) == EVENTS_PER_MINUTE


@pytest.mark.parametrize("storage", IN_MEMORY)
def test_hits_are_given_back_to_their_own_minute(
    storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = IN_MEMORY[storage]()

    def at(seconds: float) -> None:
        monkeypatch.setattr("time.time", lambda: MINUTE + seconds)

    at(59)
    hits = hit(limit, EVENTS_PER_MINUTE)
    at(60)
    assert hit(limit) == []
    give_back(limit, hits[10:])
    passed = hit(limit, EVENTS_PER_MINUTE)
    assert len(passed) == EVENTS_PER_MINUTE - 10
    at(180)  # Nothing is left of a minute before the last.
    assert len(hit(limit, 30)) == 30
    give_back(limit, hits + passed)
    assert len(hit(limit, EVENTS_PER_MINUTE)) == EVENTS_PER_MINUTE - 30


def test_a_person_who_lost_the_place_in_a_full_table_gets_nothing_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("signal_pipeline.api.identity.shared_window.BUCKETS", 1)
    monkeypatch.setattr("time.time", lambda: MINUTE)
    limit = RateLimit(SECRET, window=SharedWindow())
    hits = hit(limit)
    for number in range(100):
        assert len(hit(limit, 2, f"other-{number}")) == 2
    give_back(limit, hits)
    # The last of the others has the place now.
    assert len(hit(limit, EVENTS_PER_MINUTE, "other-99")) == EVENTS_PER_MINUTE - 2
    assert len(hit(limit, EVENTS_PER_MINUTE + 1)) == EVENTS_PER_MINUTE


def _age(redis_port: int, seconds: float) -> None:
    """Let so many seconds of each window pass, without waiting for them."""
    client = redis.Redis(port=redis_port)
    for key in client.scan_iter():
        client.pexpire(key, max(1, client.pttl(key) - int(seconds * 1_000)))


def test_redis_gives_back_nothing_of_a_minute_that_is_over(
    redis_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = RateLimit(SECRET, f"redis://127.0.0.1:{redis_port}/0")
    hits = hit(limit, 20)
    _age(redis_port, 60.5)
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + 60.5)
    later = hit(limit, 20)
    assert len(later) == 20
    give_back(limit, hits)
    give_back(limit, hits)
    # The first 20 count less from second to second.
    assert 20 <= len(hit(limit, EVENTS_PER_MINUTE)) < 30


def test_redis_gives_back_nothing_of_a_minute_that_ended_before_its_answer_came(
    redis_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = RateLimit(SECRET, f"redis://127.0.0.1:{redis_port}/0")
    now, count = time.monotonic, SlidingWindowCounterRateLimiter.hit

    def count_slowly(*arguments: Any) -> bool:
        passed = count(*arguments)
        _age(redis_port, 60.5)
        monkeypatch.setattr(time, "monotonic", lambda: now() + 60.5)
        return passed

    with monkeypatch.context() as patch:
        patch.setattr(SlidingWindowCounterRateLimiter, "hit", count_slowly)
        late = hit(limit)
    kept = hit(limit, EVENTS_PER_MINUTE)
    give_back(limit, late)
    assert len(kept) == EVENTS_PER_MINUTE
    assert hit(limit) == []


def test_redis_gives_back_nothing_just_before_a_new_minute(
    redis_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "LAST_SECONDS", 30.0)
    limit = RateLimit(SECRET, f"redis://127.0.0.1:{redis_port}/0")
    hits = hit(limit, EVENTS_PER_MINUTE)
    _age(redis_port, 31)
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + 31)
    give_back(limit, hits)
    assert hit(limit) == []


def test_a_redis_that_goes_away_in_between_is_no_second_error(
    redis_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    limit = RateLimit(SECRET, f"redis://127.0.0.1:{redis_port}/0")
    hits = hit(limit, 20)
    redis.Redis(port=redis_port).shutdown(nosave=True)
    give_back(limit, hits)
    give_back(limit, hits)
    (line,) = caplog.records
    assert "events pass unlimited" in line.getMessage()


def test_what_passed_while_redis_was_away_is_not_given_back(redis_port: int) -> None:
    url = f"redis://127.0.0.1:{redis_port}/0"
    away, back = RateLimit(SECRET, "redis://127.0.0.1:1/0"), RateLimit(SECRET, url)
    uncounted, counted = hit(away, 70), hit(back, 20)
    assert (len(uncounted), len(counted)) == (70, 20)
    give_back(back, uncounted)
    assert len(hit(back, EVENTS_PER_MINUTE)) == EVENTS_PER_MINUTE - 20
