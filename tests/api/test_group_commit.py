"""Group commit: each request is answered once, and with the outcome of its own events.

That holds whatever the thread that stores them does.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from datetime import date

import pytest
from support.waits import PATIENCE_SECONDS

from signal_pipeline.api import group_commit
from signal_pipeline.api.group_commit import GroupCommit
from signal_pipeline.api.refusals import ApiError, MayBeStoredError
from signal_pipeline.api.spooling_ingest import Answer
from signal_pipeline.events.event import Drop
from signal_pipeline.ingest.books import ACCEPTED, Outcome
from signal_pipeline.postgres.database import DatabaseError, DatabaseUnreachableError
from signal_pipeline.postgres.embedded_folders import EmbeddedError


class Ingest:
    """Stands in for the database: records the batches, and stores none until it is allowed to."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.let = threading.Event()
        self.let.set()
        self.refuses: Exception | None = None
        self.closed = False

    def store(self, checked: Sequence[Drop]) -> list[Outcome]:
        self.batches.append([item.event_type for item in checked])
        assert self.let.wait(PATIENCE_SECONDS)
        if self.refuses is not None:
            raise self.refuses
        return [ACCEPTED] * len(checked)

    def close(self) -> None:
        self.closed = True


def item(name: str) -> Drop:
    return Drop("bot", date(2026, 3, 8), "cms", name)


def run(
    test: Callable[[GroupCommit, Ingest], Awaitable[None]],
    revive: Callable[[], object] | None = None,
) -> Ingest:
    """Run a test in a loop of its own; the group commit is closed afterwards."""
    ingest = Ingest()

    async def whole() -> None:
        async with asyncio.timeout(3 * PATIENCE_SECONDS):
            async with GroupCommit(ingest, None, revive) as commits:  # type: ignore[arg-type]
                try:
                    await asyncio.wait_for(test(commits, ingest), PATIENCE_SECONDS)
                finally:
                    ingest.let.set()

    asyncio.run(whole())
    return ingest


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def sent(commits: GroupCommit, *names: str) -> list[asyncio.Task[Sequence[Answer]]]:
    return [asyncio.create_task(commits.store([item(name)])) for name in names]


async def held(
    commits: GroupCommit, ingest: Ingest, name: str
) -> list[asyncio.Task[Sequence[Answer]]]:
    """Send an event, and hold the thread while it stores it."""
    ingest.let.clear()
    tasks = sent(commits, name)
    await until(lambda: [name] in ingest.batches)
    return tasks


def test_next_batch() -> None:
    """Events that arrive while a batch is stored become the next batch."""

    async def test(commits: GroupCommit, ingest: Ingest) -> None:
        first = await held(commits, ingest, "a")
        others = sent(commits, "b", "c", "d")
        await asyncio.sleep(0.05)
        assert ingest.batches == [["a"]]
        ingest.let.set()
        assert await asyncio.gather(*first, *others) == [[ACCEPTED]] * 4

    assert run(test).batches == [["a"], ["b", "c", "d"]]


def test_small_batch_after_a_large_one() -> None:
    """Fewer than half of the last batch wait for a moment, and are then stored."""

    async def test(commits: GroupCommit, ingest: Ingest) -> None:
        first = await held(commits, ingest, "a")
        many = sent(commits, *"bcdefg")
        await asyncio.sleep(0)
        ingest.let.set()
        await asyncio.gather(*first, *many)
        assert await commits.store([item("h")]) == [ACCEPTED]

    assert run(test).batches == [["a"], [*"bcdefg"], ["h"]]


def test_batch_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The events beyond the bound follow in the next batches."""
    monkeypatch.setattr(group_commit, "BATCH_EVENTS", 2)

    async def test(commits: GroupCommit, ingest: Ingest) -> None:
        first = await held(commits, ingest, "a")
        others = sent(commits, *"bcdef")
        await asyncio.sleep(0)
        ingest.let.set()
        assert await asyncio.gather(*first, *others) == [[ACCEPTED]] * 6

    assert run(test).batches == [["a"], ["b", "c"], ["d", "e"], ["f"]]


def test_cancelled_requests_are_not_stored() -> None:
    """An event whose sender has gone is not stored, and holds up nobody."""

    async def test(commits: GroupCommit, ingest: Ingest) -> None:
        first = await held(commits, ingest, "a")
        gone, stays = sent(commits, "b", "c")
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        ingest.let.set()
        assert await asyncio.gather(*first, stays) == [[ACCEPTED]] * 2
        # All senders of the next batch are gone; the batch after it is stored all the same.
        second = await held(commits, ingest, "d")
        (gone,) = sent(commits, "e")
        await asyncio.sleep(0)
        gone.cancel()
        ingest.let.set()
        await asyncio.gather(*second)
        assert await commits.store([item("f")]) == [ACCEPTED]

    assert run(test).batches == [["a"], ["c"], ["d"], ["f"]]


def test_hanging_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Requests give up in time, and only a bounded number of events wait.

    The error says whether the events can still be stored.
    """
    monkeypatch.setattr(group_commit, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(group_commit, "MAX_WAITING_EVENTS", 2)

    async def test(commits: GroupCommit, ingest: Ingest) -> None:
        ingest.let.clear()
        waiting = sent(commits, "a", "b")
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(answer) for answer in answers] == [MayBeStoredError, ApiError]
        for answer in answers:
            assert isinstance(answer, ApiError)
            assert (answer.code, "too slow" in str(answer)) == ("SERVICE_UNAVAILABLE", True)
        # Requests that were given up still take room, until the thread is back.
        with pytest.raises(ApiError, match="too many events wait"):
            await commits.store([item("c")])
        ingest.let.set()
        while True:
            try:
                assert await commits.store([item("d")]) == [ACCEPTED]
                break
            except ApiError:
                await asyncio.sleep(0.001)

    assert run(test).batches == [["a"], ["d"]]


def test_closing_stores_waiting_events() -> None:
    answered: list[asyncio.Task[Sequence[Answer]]] = []

    async def test(commits: GroupCommit, ingest: Ingest) -> None:
        answered.extend(await held(commits, ingest, "a"))
        answered.extend(sent(commits, "b"))
        await asyncio.sleep(0)

    ingest = run(test)
    assert (ingest.batches, ingest.closed) == ([["a"], ["b"]], True)
    assert [task.result() for task in answered] == [[ACCEPTED]] * 2


class FailingSpool:
    """A spool whose every part fails in a way that nobody expects."""

    waiting = False

    def __init__(self) -> None:
        self.failures = 0

    def expire(self) -> None:
        self.failures += 1
        raise ValueError("a private value")


def test_a_failing_spool_does_not_end_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    """Otherwise no later event would be stored, and the process would still seem healthy."""
    ingest, spool = Ingest(), FailingSpool()

    async def whole() -> None:
        async with (
            asyncio.timeout(PATIENCE_SECONDS),
            GroupCommit(ingest, spool) as commits,  # type: ignore[arg-type]
        ):
            for number in range(1, 3):
                assert await commits.store([item("a")]) == [ACCEPTED]
                await until(lambda number=number: spool.failures >= number)  # type: ignore[misc]

    asyncio.run(whole())
    assert "looking after the spool failed: ValueError" in caplog.text
    assert "private" not in caplog.text


def test_the_log_says_what_postgresql_refused(caplog: pytest.LogCaptureFixture) -> None:
    async def test(commits: GroupCommit, ingest: Ingest) -> None:
        ingest.refuses = DatabaseError("PostgreSQL refused a statement: X, SQLSTATE 23514", "23514")
        with pytest.raises(ApiError):
            await commits.store([item("a")])
        ingest.refuses = ValueError("a private value")
        with pytest.raises(ApiError):
            await commits.store([item("a")])

    run(test)
    assert [text.removeprefix("storing a batch failed: ") for text in caplog.messages] == [
        "PostgreSQL refused a statement: X, SQLSTATE 23514",
        "ValueError",
    ]


@pytest.mark.parametrize("kind", [EmbeddedError, RuntimeError])
def test_failing_revival(kind: type[Exception]) -> None:
    """A database that cannot be started again counts as away, not as an internal error."""
    tried = []

    def revive() -> None:
        tried.append(1)
        raise kind("it does not start")

    async def test(commits: GroupCommit, ingest: Ingest) -> None:
        ingest.refuses = DatabaseUnreachableError("away")
        with pytest.raises(ApiError) as refused:
            await commits.store([item("a")])
        assert refused.value.code == "SERVICE_UNAVAILABLE"
        ingest.refuses = None
        assert await commits.store([item("b")]) == [ACCEPTED]

    run(test, revive=revive)
    assert tried
