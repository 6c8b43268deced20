"""Events that could not be stored can be sent again: they do not use up the rate limit."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, date, datetime
from typing import Any

import pytest
import strawberry
from support.waits import PATIENCE_SECONDS
from support.wire import CREATE_MANY, Server, StartServer, code, event
from support.workers import TWO

from signal_pipeline.api import group_commit
from signal_pipeline.api.graphql.context import RequestContext, Services
from signal_pipeline.api.graphql.types import Event, EventCreateInput
from signal_pipeline.api.graphql.writing import create_events
from signal_pipeline.api.group_commit import GroupCommit
from signal_pipeline.api.identity.callers import Authenticated
from signal_pipeline.api.identity.rate_limit import EVENTS_PER_MINUTE, RateLimit
from signal_pipeline.api.refusals import ApiError
from signal_pipeline.events.event import AcceptedEvent, Drop, IncomingEvent
from signal_pipeline.ingest.books import ACCEPTED, Outcome
from signal_pipeline.postgres.database import DatabaseError

SECRET = b"s" * 32
TODAY = date(2026, 3, 4)
MINUTE = 29_000_000 * 60.0


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
