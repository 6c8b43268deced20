"""What a request has counted is given back if its events could not be stored."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, date, datetime
from typing import Any

import pytest
import redis
import strawberry
from limits.strategies import SlidingWindowCounterRateLimiter
from support.waits import PATIENCE_SECONDS
from support.wire import CREATE_MANY, Server, StartServer, code, event
from support.workers import TWO

from signal_pipeline.api import group_commit
from signal_pipeline.api.graphql.context import RequestContext, Services
from signal_pipeline.api.graphql.types import Event, EventCreateInput
from signal_pipeline.api.graphql.writing import create_events
from signal_pipeline.api.group_commit import GroupCommit
from signal_pipeline.api.identity import rate_limit
from signal_pipeline.api.identity.callers import Authenticated
from signal_pipeline.api.identity.rate_limit import EVENTS_PER_MINUTE, Hit, RateLimit
from signal_pipeline.api.identity.shared_window import SharedWindow
from signal_pipeline.api.refusals import ApiError
from signal_pipeline.events.event import AcceptedEvent, Drop, IncomingEvent
from signal_pipeline.ingest.books import ACCEPTED, Outcome
from signal_pipeline.postgres.database import DatabaseError

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


class SlowIngest:
    """Stands in for a database that stores everything, but only once it may."""

    def __init__(self) -> None:
        self.stored: Counter[str] = Counter()  # By the name of the app.
        self.let = threading.Event()
        self.let.set()
        self.fails = False

    def check(self, event: IncomingEvent) -> AcceptedEvent:
        return AcceptedEvent(
            day=TODAY,
            created_at=datetime.now(UTC),
            app_name=event.app_name,
            event_type=event.event_type,
            route=None,
            entity_type=None,
            entity_id=None,
            user_hash=b"",
            session_id=None,
            device_type="",
            browser_family="",
            os_family="",
            client_event_id=event.client_event_id or "",
            description=None,
            address="given",
        )

    def store(self, checked: Sequence[AcceptedEvent | Drop]) -> list[Outcome]:
        assert self.let.wait(PATIENCE_SECONDS)
        if self.fails:
            raise DatabaseError("refused", "42501")
        self.stored.update(item.app_name for item in checked if isinstance(item, AcceptedEvent))
        return [
            ACCEPTED if isinstance(item, AcceptedEvent) else Outcome("dropped", item.reason)
            for item in checked
        ]

    def close(self) -> None:
        """Do nothing: nothing is open."""


Send = Callable[[str], Coroutine[Any, Any, list[Event | None]]]


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs a test with a slow database, and with a function that sends 60 events of a person."""
    monkeypatch.setattr(group_commit, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr("time.time", lambda: MINUTE + 30)
    unused: Any = None

    async def whole(test: Callable[[SlowIngest, Send], Coroutine[Any, Any, None]]) -> None:
        ingest: Any = SlowIngest()
        async with asyncio.timeout(3 * PATIENCE_SECONDS), GroupCommit(ingest) as commits:
            services = Services(
                ingest, commits, RateLimit(SECRET), unused, unused, unused, unused, unused
            )

            async def send(uid: str) -> list[Event | None]:
                inputs = [
                    EventCreateInput(
                        event_type="page_viewed",
                        app_name=uid,
                        client_event_id=strawberry.ID(str(uuid.uuid4())),
                    )
                    for _ in range(EVENTS_PER_MINUTE)
                ]
                caller = Authenticated(uid, frozenset())
                return await create_events(
                    RequestContext(services, caller, None, None, None), inputs
                )

            try:
                await test(ingest, send)
            finally:
                ingest.let.set()

    return lambda test: asyncio.run(whole(test))


async def _until_idle(send: Send) -> None:
    """Wait until the database has stored what it was given."""
    while True:
        try:
            await send(str(uuid.uuid4()))
        except ApiError:
            await asyncio.sleep(0.001)
        else:
            return


def test_nobody_passes_the_limit_because_the_database_is_slow(
    slowly: Callable[..., None],
) -> None:
    """Events that are stored after their sender got 503 count."""

    async def test(ingest: SlowIngest, send: Send) -> None:
        for _ in range(4):
            ingest.let.clear()
            with pytest.raises(ApiError, match="too slow"):
                await send("one")
            ingest.let.set()
            await _until_idle(send)
        assert ingest.stored["one"] == EVENTS_PER_MINUTE

    slowly(test)


def test_events_that_a_slow_database_does_not_store_can_be_sent_again(
    slowly: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their sender got 503 before the database failed."""

    async def test(ingest: SlowIngest, send: Send) -> None:
        ingest.let.clear()
        ingest.fails = True
        with pytest.raises(ApiError, match="too slow"):
            await send("one")
        ingest.let.set()
        while True:  # Others learn of the failure at once.
            with pytest.raises(ApiError) as refused:
                await send(str(uuid.uuid4()))
            if "too slow" not in str(refused.value):
                break
        ingest.fails = False
        await _until_idle(send)
        # The next answer must not be late because the machine is busy.
        monkeypatch.setattr(group_commit, "PATIENCE_SECONDS", PATIENCE_SECONDS)
        assert None not in await send("one")

    slowly(test)


def test_events_that_waited_behind_a_slow_batch_can_be_sent_again(
    slowly: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(ingest: SlowIngest, send: Send) -> None:
        ingest.let.clear()
        answers = await asyncio.gather(send("other"), send("one"), return_exceptions=True)
        assert all(isinstance(answer, ApiError) for answer in answers)
        ingest.let.set()
        await _until_idle(send)
        # The next answer must not be late because the machine is busy.
        monkeypatch.setattr(group_commit, "PATIENCE_SECONDS", PATIENCE_SECONDS)
        assert None not in await send("one")

    slowly(test)


def _check_retries(server: Server, outage: Callable[[], Any], uid: str) -> None:
    """A batch that got 503 again and again is stored once the database is back."""
    batch = {"input": [event() for _ in range(20)]}
    with outage():
        for _ in range(4):
            answer = server.call(CREATE_MANY, batch, uid=uid)
            assert (answer.status_code, code(answer.json())) == (503, "SERVICE_UNAVAILABLE")
    said = server.call(CREATE_MANY, batch, uid=uid).json()["extensions"]["signal"]["events"]
    assert {(each["outcome"], each["reason"]) for each in said} == {("accepted", None)}


@pytest.mark.embedded_only
@pytest.mark.parametrize("arguments", [(), TWO])
def test_retries_in_an_outage_do_not_use_up_the_limit(
    start: StartServer, outage: Callable[[], Any], arguments: tuple[str, ...]
) -> None:
    _check_retries(start(*arguments), outage, f"patient-{len(arguments)}")


@pytest.mark.embedded_only
def test_retries_in_an_outage_do_not_use_up_the_limit_in_redis(
    start: StartServer, outage: Callable[[], Any], redis_port: int
) -> None:
    server = start(*TWO, SIGNAL_RATE_LIMIT_URL=f"redis://127.0.0.1:{redis_port}/0")
    _check_retries(server, outage, "patient-redis")


@pytest.mark.embedded_only
def test_duplicates_count(api: Server) -> None:
    """Each of them costs the server as much as a new event."""
    batch = {"input": [event()] * EVENTS_PER_MINUTE}
    said = api.call(CREATE_MANY, batch, uid="twice").json()["extensions"]["signal"]
    assert said["counts"] == {"accepted": 1, "duplicate": EVENTS_PER_MINUTE - 1}
    again = api.call(CREATE_MANY, batch, uid="twice").json()["extensions"]["signal"]
    assert again["counts"].get("dropped", 0) > EVENTS_PER_MINUTE // 2
