"""The rate limit on its own: in memory, and in a Redis that two processes share."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import socket
import time
from datetime import date, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from signal_pipeline.api.identity import shared_window
from signal_pipeline.api.identity.rate_limit import EVENTS_PER_MINUTE, RateLimit
from signal_pipeline.api.identity.shared_window import SharedWindow
from signal_pipeline.settings import SettingsError

SECRET = b"s" * 32
TODAY = date(2026, 3, 4)


def passed(limit: RateLimit, uid: str, events: int, day: date = TODAY, given_back: int = 0) -> int:
    """How many of these events pass. The first of them are then given back."""

    async def ask() -> int:
        asked = [await limit.hit(uid, day) for _ in range(events)]
        hits = [each for each in asked if each is not None]
        await limit.give_back(hits[:given_back])
        return len(hits)

    return asyncio.run(ask())


def test_each_person_has_a_limit_of_their_own() -> None:
    limit = RateLimit(SECRET)
    assert passed(limit, "one", 100) in (
        EVENTS_PER_MINUTE,
        EVENTS_PER_MINUTE + 1,
    )  # The clock's minute can change.
    assert passed(limit, "other", 50) == 50


def test_the_last_minute_counts_by_its_share_in_the_sixty_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limit, minute = RateLimit(SECRET), 29_000_000 * 60.0

    def at(seconds: float) -> int:
        monkeypatch.setattr("time.time", lambda: minute + seconds)
        return passed(limit, "one", 100)

    assert at(59) == EVENTS_PER_MINUTE
    assert at(60) == 0
    assert at(90) == EVENTS_PER_MINUTE / 2  # Half of the sixty still count.
    assert at(90) == 0
    assert at(240) == EVENTS_PER_MINUTE  # Nothing is left of a minute before the last.


@given(
    hits=st.lists(
        st.tuples(st.integers(0, 2), st.floats(0, 90), st.integers(1, 70), st.integers(0, 70)),
        min_size=1,
        max_size=12,
    )
)
def test_workers_count_as_one_process_does(hits: list[tuple[int, float, int, int]]) -> None:
    """Any persons, pauses and bursts pass alike in the shared memory and in a process's own.

    Some of the hits are given back.
    """
    own, shared, now = (
        RateLimit(SECRET),
        RateLimit(SECRET, window=SharedWindow()),
        29_000_000 * 60.0,
    )
    with pytest.MonkeyPatch.context() as patch:
        for person, pause, burst, back in hits:
            now += pause
            patch.setattr("time.time", lambda now=now: now)
            first, second = (
                passed(each, f"{person}", burst, given_back=back) for each in (own, shared)
            )
            assert first == second


def _hit(window: SharedWindow, turns: int, passed: Connection) -> None:
    passed.send(sum(window.hit(b"one" * 8) is not None for _ in range(turns)))


def test_workers_share_their_memory() -> None:
    """Several processes count at once, and one that is killed holds nobody up."""
    spawn, window = multiprocessing.get_context("spawn"), SharedWindow()
    began = time.monotonic()
    killed = spawn.Process(target=_hit, args=(window, 1 << 40, spawn.Pipe()[1]))
    killed.start()
    while window.hit(b"one" * 8):
        pass
    killed.kill()
    killed.join()
    results, sends = zip(*(spawn.Pipe(duplex=False) for _ in range(3)), strict=True)
    others = [spawn.Process(target=_hit, args=(window, 200, send)) for send in sends]
    for each in others:
        each.start()
    counted = sum(result.recv() for result in results)
    for each in others:
        each.join()
    # Each second makes room for one event more at most.
    assert counted <= time.monotonic() - began + 1
    assert window.hit(b"two" * 8)


def test_a_full_table_refuses_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more people than it has room for, those with the fewest events are forgotten."""
    monkeypatch.setattr(shared_window, "BUCKETS", 1)
    limit = RateLimit(SECRET, window=SharedWindow())
    monkeypatch.setattr("time.time", lambda: 29_000_000 * 60.0)
    assert passed(limit, "busy", 100) == EVENTS_PER_MINUTE
    for number in range(3 * shared_window.KEYS_PER_BUCKET):
        assert passed(limit, f"other-{number}", 2) == 2
    assert passed(limit, "busy", 10) == 0


class _OpenFile:
    """A file as another process sends it."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(1 << 22))
        self._path = path

    def detach(self) -> int:
        return os.open(self._path, os.O_RDWR)


def test_the_shared_memory_forgets_who_came_two_minutes_ago(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the secret, a key and its minute would tell that a person was there."""
    memory = tmp_path / "memory"
    window = SharedWindow(_OpenFile(memory))

    def after_hit(key: bytes, minute: int) -> bytes:
        monkeypatch.setattr("time.time", lambda: (29_000_000 + minute) * 60.0)
        assert window.hit(key)
        return memory.read_bytes()

    one, two = b"one" * 8, b"two" * 8
    assert one[:16] in after_hit(one, 0)
    assert one[:16] in after_hit(two, 1)
    assert one[:16] not in after_hit(two, 2)
    assert one[:16] in after_hit(one, 3)
    assert one[:16] not in after_hit(two, -60)  # The clock was set back.


def test_processes_share_a_redis_which_never_sees_a_user_id(redis_port: int) -> None:
    url = f"redis://127.0.0.1:{redis_port}/0"
    first, second = RateLimit(SECRET, url), RateLimit(SECRET, url)
    assert passed(first, "someone@example.org", 40) == 40
    assert passed(second, "someone@example.org", 40) in (20, 21)
    keys = [key.decode() for key in redis.Redis(port=redis_port).scan_iter()]
    assert keys
    assert not any("someone" in key or "example" in key for key in keys)
    assert all(redis.Redis(port=redis_port).ttl(key) > 0 for key in keys)


def test_keys_of_two_days_are_unrelated(redis_port: int) -> None:
    limit = RateLimit(SECRET, f"redis://127.0.0.1:{redis_port}/0")
    passed(limit, "one", 1)
    before = set(redis.Redis(port=redis_port).keys())
    passed(limit, "one", 1, TODAY + timedelta(days=1))
    added = set(redis.Redis(port=redis_port).keys()) - before
    assert added


def test_events_pass_while_redis_is_away(caplog: pytest.LogCaptureFixture) -> None:
    limit = RateLimit(SECRET, "redis://127.0.0.1:1/0")
    assert passed(limit, "one", 70) == 70
    assert "(ConnectionError): events pass unlimited" in caplog.text


def test_a_redis_that_hangs_is_asked_once_not_for_each_event() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:  # Takes connections, and never answers.
        limit = RateLimit(SECRET, f"redis://127.0.0.1:{hanging.getsockname()[1]}/0")
        limit.check_storage()
        assert passed(limit, "one", 70) == 70
        hanging.settimeout(1)
        asked = 0
        with contextlib.suppress(TimeoutError):
            while True:
                hanging.accept()[0].close()
                asked += 1
    assert asked == 1


def test_events_pass_while_redis_answers_nonsense(
    redis_port: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = RateLimit(SECRET, f"redis://127.0.0.1:{redis_port}/0")
    monkeypatch.setattr(redis.Redis, "evalsha", _hidden_fault)
    monkeypatch.setattr(redis.Redis, "execute_command", _hidden_fault)
    assert passed(limit, "one", 70) == 70
    assert "(TypeError): events pass unlimited" in caplog.text
    assert "hidden" not in caplog.text


def _hidden_fault(*_: object, **__: object) -> None:
    raise TypeError("hidden")


@pytest.mark.parametrize(
    "url",
    [
        "nonsense://x",
        "redis",
        "async+memory://nonsense",
        "redis://127.0.0.1:1/0?nonsense=5",
        "redis://127.0.0.1:1/0?ssl=nonsense",
        "redis://redis..nonsense:6379/0",
        "redis+cluster://nonsense@127.0.0.1:1",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_text(url: str) -> None:
    with pytest.raises(SettingsError, match="SIGNAL_RATE_LIMIT_URL") as refusal:
        RateLimit(SECRET, url).check_storage()
    assert "nonsense" not in str(refusal.value)
