"""Group commit: events of concurrent requests share one transaction.

`GroupCommit` is the gathering half. It runs on the event loop, and gathers waiting requests into
batches. A batch holds about BATCH_EVENTS events at most, and a free thread waits for it no longer
than BATCH_SECONDS. The committing half is a thread; see `committer`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from signal_pipeline.api.committer import Committer, Result
from signal_pipeline.api.refusals import MayBeStoredError, unavailable
from signal_pipeline.api.spooling_ingest import Answer, SpoolingIngest
from signal_pipeline.events.event import AcceptedEvent, Drop
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.ingest.spool import Spool

BATCH_EVENTS = 1_000
BATCH_SECONDS = 0.005  # How long the first event of a batch waits for others.
PATIENCE_SECONDS = 12.0  # A connection attempt gives up after ten seconds.
MAX_WAITING_EVENTS = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    """The checked events of one request, and the future that its caller waits for."""

    checked: Sequence[AcceptedEvent | Drop]
    future: asyncio.Future[Sequence[Answer]]


class GroupCommit:
    """A queue that stores events through one `Ingest`, with many requests per transaction.

    It is an asynchronous context manager: entering it starts its thread; leaving it stores all
    waiting events and ends the thread. `revive` is called when the database cannot be reached, for
    example to start an embedded one again.
    """

    def __init__(
        self, ingest: Ingest, spool: Spool | None = None, revive: Callable[[], object] | None = None
    ) -> None:
        self._committer = Committer(SpoolingIngest(ingest, spool, revive), self._on_results)
        # Everything below is used only in the event loop.
        self._loop: asyncio.AbstractEventLoop
        self._waiting: deque[_Request] = deque()
        self._in_flight: list[_Request] = []  # The batch that the thread is storing.
        self._given_up: dict[_Request, asyncio.Future[bool]] = {}  # Those of them.
        self._enough_requests = 1  # If the thread is free and so many wait, they are sent at once.
        self._timer: asyncio.TimerHandle | None = None
        self._unanswered_events = 0  # Waiting or in flight.

    async def __aenter__(self) -> Self:
        """Start the thread."""
        self._loop = asyncio.get_running_loop()
        self._committer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Store all waiting events, then end the thread."""
        while (self._waiting or self._in_flight) and self._committer.is_alive():
            self._send_batch()
            await asyncio.sleep(BATCH_SECONDS)
        await asyncio.to_thread(self._committer.stop)

    async def store(self, checked: Sequence[AcceptedEvent | Drop]) -> Sequence[Answer]:
        """Store the events of one request, and return once they are committed or spooled.

        Raises ApiError if they are neither, and MayBeStoredError if they are not in time, but the
        thread still has them. It is safe to send the same events again.
        """
        if self._unanswered_events + len(checked) > MAX_WAITING_EVENTS:
            raise unavailable(
                "too many events wait for the database: send the same event again later"
            )
        request = _Request(checked, self._loop.create_future())
        self._unanswered_events += len(checked)
        self._waiting.append(request)
        self._schedule_batch()
        # `wait_for` costs five times as much as a timer.
        timer = self._loop.call_later(PATIENCE_SECONDS, self._give_up, request)
        try:
            return await request.future
        finally:
            timer.cancel()

    def _schedule_batch(self) -> None:
        """Send the next batch if the thread is free: at once if it is big enough, else soon.

        A batch is big enough if it has half as many requests as the last one. If it is smaller, a
        free thread waits for more requests, but no longer than BATCH_SECONDS. Events that come one
        by one therefore do not wait. Under load, half of the callers are answered while the events
        of the other half are stored. A batch of only the first few events would leave all others
        waiting.
        """
        if self._in_flight or not self._waiting:
            return
        if len(self._waiting) >= self._enough_requests:
            self._send_batch()
        elif self._timer is None:
            self._timer = self._loop.call_later(BATCH_SECONDS, self._send_batch)

    def _send_batch(self) -> None:
        """Send the thread its next batch, unless it is busy with one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._in_flight:
            return
        batch = self._take_batch()
        if batch:
            self._in_flight = batch
            self._enough_requests = (len(batch) + 1) // 2
            self._committer.send([request.checked for request in batch])

    def _take_batch(self) -> list[_Request]:
        """Take the next batch from the waiting requests, and discard requests that gave up."""
        batch: list[_Request] = []
        events = 0
        while self._waiting and events < BATCH_EVENTS:
            request = self._waiting.popleft()
            if request.future.done():
                self._unanswered_events -= len(request.checked)
            else:
                batch.append(request)
                events += len(request.checked)
        return batch

    def _on_results(self, results: Sequence[Result]) -> None:
        """Take the results from the thread to the event loop."""
        self._loop.call_soon_threadsafe(self._answer, results)

    def _answer(self, results: Sequence[Result]) -> None:
        """Answer the requests of the batch in flight, and see to the next batch."""
        batch, self._in_flight = self._in_flight, []
        for request, result in zip(batch, results, strict=True):
            self._unanswered_events -= len(request.checked)
            if is_stored := self._given_up.pop(request, None):
                is_stored.set_result(not isinstance(result, Exception))
            if request.future.done():
                continue
            if isinstance(result, Exception):
                request.future.set_exception(result)
            else:
                request.future.set_result(result)
        self._schedule_batch()

    def _give_up(self, request: _Request) -> None:
        """Fail a request that has waited too long. If it is not in flight, it is never stored."""
        if request.future.done():
            return
        error = unavailable("the database is too slow: send the same event again later")
        if request in self._in_flight:
            self._given_up[request] = self._loop.create_future()
            error = MayBeStoredError(error, self._given_up[request])
        request.future.set_exception(error)
