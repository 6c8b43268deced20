"""Group commit: events of concurrent requests share one transaction.

The event loop gathers waiting events into batches, which are bounded in number and in time. One
thread owns the ingest's connection. It stores a batch in one transaction and answers only then, so
that acknowledged means committed.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from signal_pipeline.api.refusals import ApiError, as_unavailable, unavailable
from signal_pipeline.errors import SignalError
from signal_pipeline.events.event import AcceptedEvent, Drop
from signal_pipeline.ingest.books import Outcome
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.ingest.spool import Spool, SpoolError
from signal_pipeline.postgres.database import DatabaseError, DatabaseUnreachableError

logger = logging.getLogger(__name__)

BATCH_EVENTS = 1_000
BATCH_SECONDS = 0.005  # How long the first event of a batch waits for others.
PATIENCE_SECONDS = 12.0  # A connection attempt gives up after ten seconds.
MAX_WAITING_EVENTS = 20_000
SPOOL_SECONDS = 1.0  # How often an idle thread checks whether the database is back.


@dataclass(frozen=True, slots=True)
class Spooled:
    """The answer for an event that waits on disk until the database is back.

    It is not known yet whether the event is new or a duplicate.
    """

    kind: Literal["spooled"] = "spooled"
    reason: None = None


Answer = Outcome | Spooled


@dataclass(frozen=True, slots=True)
class _Job:
    checked: Sequence[AcceptedEvent | Drop]
    future: asyncio.Future[list[Answer]]


class GroupCommit:
    """A queue that stores events through one `Ingest`, with many requests per transaction.

    `revive` is called when the database cannot be reached, for example to restart an embedded one.
    """

    def __init__(
        self, ingest: Ingest, spool: Spool | None = None, revive: Callable[[], object] | None = None
    ) -> None:
        self._ingest = ingest
        self._spool = spool
        self._revive = revive
        self._loop = asyncio.get_running_loop()
        # Used only in the event loop: the jobs that wait for a batch, how many of them are enough
        # for one, and whether the thread is storing one.
        self._gathered: deque[_Job] = deque()
        self._enough = 1
        self._storing = False
        self._timer: asyncio.TimerHandle | None = None
        self._waiting = 0  # Counts events that are gathered or being stored.
        self._batches: queue.SimpleQueue[list[_Job] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="signal-group-commit", daemon=True)
        self._thread.start()

    async def store(self, checked: Sequence[AcceptedEvent | Drop]) -> list[Answer]:
        """Store the events of one request in one transaction, and return once it is committed.

        Raises ApiError if the database is away or too slow. It is safe to send the same events
        again.
        """
        if self._waiting + len(checked) > MAX_WAITING_EVENTS:
            raise unavailable(
                "too many events wait for the database: send the same event again later"
            )
        job = _Job(checked, self._loop.create_future())
        self._waiting += len(checked)
        self._gathered.append(job)
        self._next()
        # `wait_for` costs five times as much as a timer.
        timer = self._loop.call_later(PATIENCE_SECONDS, _give_up, job.future)
        try:
            return await job.future
        finally:
            timer.cancel()

    async def close(self) -> None:
        """Store all waiting events, then end the thread."""
        while (self._gathered or self._storing) and self._thread.is_alive():
            self._hand_over()
            await asyncio.sleep(BATCH_SECONDS)
        self._batches.put(None)
        await asyncio.to_thread(self._thread.join)

    def _next(self) -> None:
        """Hand over the next batch if the thread is free: at once if it is big enough, else soon.

        Half as many jobs as the last batch had are enough, and no job waits longer than
        BATCH_SECONDS. Events that come one by one therefore do not wait. Under load, half of the
        callers are answered while the events of the other half are stored. A batch of only the
        first few events would leave all others waiting.
        """
        if self._storing or not self._gathered:
            return
        if len(self._gathered) >= self._enough:
            self._hand_over()
        elif self._timer is None:
            self._timer = self._loop.call_later(BATCH_SECONDS, self._hand_over)

    def _hand_over(self) -> None:
        """Give the thread its next batch, unless it is busy with one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch, events = list[_Job](), 0
        while self._gathered and events < BATCH_EVENTS and not self._storing:
            job = self._gathered.popleft()
            if job.future.done():  # Its caller has stopped waiting.
                self._waiting -= len(job.checked)
                continue
            batch.append(job)
            events += len(job.checked)
        if batch:
            self._storing = True
            self._enough = (len(batch) + 1) // 2
            self._batches.put(batch)

    def _handed_back(self, jobs: list[_Job], results: list[list[Answer] | Exception]) -> None:
        """Answer the requests of a batch, and start the next one."""
        self._storing = False
        for job, result in zip(jobs, results, strict=True):
            self._waiting -= len(job.checked)
            if job.future.done():
                continue
            if isinstance(result, Exception):
                job.future.set_exception(result)
            else:
                job.future.set_result(result)
        self._next()

    def _run(self) -> None:
        while (jobs := self._next_batch()) is not None:
            if jobs:
                self._loop.call_soon_threadsafe(self._handed_back, jobs, self._stored(jobs))
            elif self._spool is not None and self._spool.waiting:
                self._drained()
            if self._spool is not None:
                self._spool.expire()
        self._ingest.close()

    def _next_batch(self) -> list[_Job] | None:
        """Return the next batch: an empty one when there is time for the spool, None at the end."""
        try:
            return self._batches.get(timeout=SPOOL_SECONDS if self._spool is not None else None)
        except queue.Empty:
            return []

    def _stored(self, jobs: list[_Job]) -> list[list[Answer] | Exception]:
        """Return each job's answers, or the error that explains why there are none."""
        checked = [item for job in jobs for item in job.checked]
        try:
            answers = self._store_or_spool(checked)
        except SpoolError as error:
            logger.warning("%s", error)
            return [
                unavailable("the database cannot be reached: send the same event again later")
            ] * len(jobs)
        except Exception as error:
            if isinstance(error, DatabaseError) and (refusal := as_unavailable(error)) is not None:
                return [refusal] * len(jobs)
            logger.error("storing a batch failed: %s", type(error).__name__)
            if len(jobs) == 1:
                return [ApiError("INTERNAL", "the event could not be stored", 500)]
            # One bad event must not fail the others.
            return [result for job in jobs for result in self._stored([job])]
        results: list[list[Answer] | Exception] = []
        for job in jobs:
            results.append(answers[: len(job.checked)])
            answers = answers[len(job.checked) :]
        return results

    def _store_or_spool(self, checked: list[AcceptedEvent | Drop]) -> list[Answer]:
        if self._spool is None:
            return list(self._store(checked))
        if self._spool.waiting and not self._drained():
            return self._spooled(checked)
        try:
            return list(self._store(checked))
        except DatabaseUnreachableError as error:
            logger.warning("%s; events go to the spool", error)
            return self._spooled(checked)

    def _store(self, checked: list[AcceptedEvent | Drop]) -> list[Outcome]:
        try:
            return self._try(checked)
        except DatabaseError as error:
            if isinstance(error, DatabaseUnreachableError):
                self._revived()
            elif not error.is_transient:
                raise
            # An idle connection does not notice a restart, and a lock can be free by now.
            return self._try(checked)

    def _revived(self) -> None:
        """Restart the database if that is our task.

        A database that does not start still counts as away, not as an error of another kind.
        """
        if self._revive is None:
            return
        try:
            self._revive()
        except (SignalError, OSError) as error:
            logger.warning("the database was not started again: %s", type(error).__name__)

    def _try(self, checked: list[AcceptedEvent | Drop]) -> list[Outcome]:
        """Store the events. A server that takes no writes for now counts as one that is away."""
        try:
            return self._ingest.store(checked)
        except DatabaseError as error:
            if error.is_refusing_work:
                raise DatabaseUnreachableError(str(error), error.sqlstate) from None
            raise

    def _spooled(self, checked: list[AcceptedEvent | Drop]) -> list[Answer]:
        assert self._spool is not None
        self._spool.append(checked)
        return [
            Outcome("dropped", item.reason) if isinstance(item, Drop) else Spooled()
            for item in checked
        ]

    def _drained(self) -> bool:
        """Drain the spool, and return whether everything in it is stored now."""
        assert self._spool is not None
        try:
            self._spool.drain()
        except DatabaseUnreachableError:
            self._revived()
            return False
        except (DatabaseError, SpoolError) as error:
            logger.error("the spool is kept: %s", error)
            return False
        except Exception as error:
            logger.error("draining the spool failed: %s", type(error).__name__)
            return False
        return True


def _give_up(future: asyncio.Future[list[Answer]]) -> None:
    if not future.done():
        future.set_exception(
            unavailable("the database is too slow: send the same event again later")
        )
