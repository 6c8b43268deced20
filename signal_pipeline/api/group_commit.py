"""Group commit: events of concurrent requests share one transaction.

One thread owns the ingest's connection. It takes what waits, bounded in number and in time, stores it in one transaction,
and only then answers: acknowledged means committed.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from signal_pipeline.api.errors import ApiError, unavailable, unserved
from signal_pipeline.api.spool import Spool, SpoolError
from signal_pipeline.events.event import Drop, Event
from signal_pipeline.ingest import Ingest
from signal_pipeline.store.database import DatabaseError, DatabaseUnreachableError
from signal_pipeline.store.writer import Outcome

logger = logging.getLogger(__name__)

BATCH_EVENTS = 1_000
BATCH_SECONDS = 0.005  # How long the first event of a batch waits for others.
PATIENCE_SECONDS = 12.0  # A connection attempt gives up after ten.
MAX_WAITING_EVENTS = 20_000
SPOOL_SECONDS = 1.0  # How often an idle thread looks whether the database is back.


@dataclass(frozen=True, slots=True)
class Spooled:
    """The event waits on disk for the database; whether it is new or a duplicate is not known yet."""

    kind: Literal["spooled"] = "spooled"
    reason: None = None


Answer = Outcome | Spooled


@dataclass(frozen=True, slots=True)
class _Job:
    checked: Sequence[Event | Drop]
    future: asyncio.Future[list[Answer]]


class GroupCommit:
    """Stores events from the event loop through one `Ingest`, many requests per transaction.

    `revive` is called when the database cannot be reached: it may start an embedded one again.
    """

    def __init__(self, ingest: Ingest, spool: Spool | None = None, revive: Callable[[], object] | None = None) -> None:
        self._ingest = ingest
        self._spool = spool
        self._revive = revive
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._waiting = 0
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="signal-group-commit", daemon=True)
        self._thread.start()

    async def store(self, checked: Sequence[Event | Drop]) -> list[Answer]:
        """Store events of one request, in one transaction; returns when it is committed.

        Raises ApiError when the database is away or too slow. Sending the same events again is safe then.
        """
        if self._waiting + len(checked) > MAX_WAITING_EVENTS:
            raise unavailable("too many events wait for the database: send the same event again later")
        job = _Job(checked, self._loop.create_future())
        self._waiting += len(checked)
        self._queue.put(job)
        timer = self._loop.call_later(PATIENCE_SECONDS, _give_up, job.future)  # `wait_for` costs five times as much.
        try:
            return await job.future
        finally:
            timer.cancel()
            self._waiting -= len(checked)

    async def close(self) -> None:
        """Store what waits, then end the thread."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        stopping = False
        while not stopping:
            jobs, stopping = self._next_jobs()
            jobs = [job for job in jobs if not job.future.done()]  # Nobody waits for the others any more.
            if jobs:
                self._answer(jobs, self._stored(jobs))
            elif self._spool is not None and self._spool.waiting:
                self._drained()
            if self._spool is not None:
                self._spool.expire()
        self._ingest.close()

    def _next_jobs(self) -> tuple[list[_Job], bool]:
        """The jobs of the next batch, and whether it is the last."""
        jobs: list[_Job] = []
        events = 0
        patience = SPOOL_SECONDS if self._spool is not None else None
        give_up = float("inf")
        while events < BATCH_EVENTS:
            try:
                job = self._queue.get(timeout=patience)
            except queue.Empty:
                break
            if job is None:
                return jobs, True
            jobs.append(job)
            events += len(job.checked)
            give_up = min(give_up, time.monotonic() + BATCH_SECONDS)
            patience = max(0.0, give_up - time.monotonic())
        return jobs, False

    def _stored(self, jobs: list[_Job]) -> list[list[Answer] | Exception]:
        """Each job's answers, or why there are none."""
        checked = [item for job in jobs for item in job.checked]
        try:
            answers = self._store_or_spool(checked)
        except SpoolError as error:
            logger.warning("%s", error)
            return [unavailable("the database cannot be reached: send the same event again later")] * len(jobs)
        except Exception as error:
            if isinstance(error, DatabaseError) and (refusal := unserved(error)) is not None:
                return [refusal] * len(jobs)
            logger.error("storing a batch failed: %s", type(error).__name__)
            if len(jobs) == 1:
                return [ApiError("INTERNAL", "the event could not be stored", 500)]
            return [result for job in jobs for result in self._stored([job])]  # One bad event must not fail the others.
        results: list[list[Answer] | Exception] = []
        for job in jobs:
            results.append(answers[: len(job.checked)])
            answers = answers[len(job.checked) :]
        return results

    def _store_or_spool(self, checked: list[Event | Drop]) -> list[Answer]:
        if self._spool is None:
            return list(self._store(checked))
        if self._spool.waiting and not self._drained():
            return self._spooled(checked)
        try:
            return list(self._store(checked))
        except DatabaseUnreachableError as error:
            logger.warning("%s; events go to the spool", error)
            return self._spooled(checked)

    def _store(self, checked: list[Event | Drop]) -> list[Outcome]:
        try:
            return self._try(checked)
        except DatabaseError as error:
            if isinstance(error, DatabaseUnreachableError):
                if self._revive is not None:
                    self._revive()
            elif not error.passes:
                raise
            return self._try(checked)  # An idle connection does not know of a restart, and a lock may be free now.

    def _try(self, checked: list[Event | Drop]) -> list[Outcome]:
        """Store; a server that takes nothing for now counts as one that is away."""
        try:
            return self._ingest.store(checked)
        except DatabaseError as error:
            if error.takes_nothing:
                raise DatabaseUnreachableError(str(error), error.sqlstate) from None
            raise

    def _spooled(self, checked: list[Event | Drop]) -> list[Answer]:
        assert self._spool is not None
        self._spool.append(checked)
        return [Outcome("dropped", item.reason) if isinstance(item, Drop) else Spooled() for item in checked]

    def _drained(self) -> bool:
        """Whether everything that was spooled is stored now."""
        assert self._spool is not None
        try:
            self._spool.drain()
        except DatabaseUnreachableError:
            if self._revive is not None:
                self._revive()
            return False
        except (DatabaseError, SpoolError) as error:
            logger.error("the spool is kept: %s", error)
            return False
        except Exception as error:
            logger.error("draining the spool failed: %s", type(error).__name__)
            return False
        return True

    def _answer(self, jobs: list[_Job], results: list[list[Answer] | Exception]) -> None:
        """Hand all results to the event loop at once."""

        def deliver() -> None:
            for job, result in zip(jobs, results, strict=True):
                if job.future.done():
                    continue
                if isinstance(result, Exception):
                    job.future.set_exception(result)
                else:
                    job.future.set_result(result)

        self._loop.call_soon_threadsafe(deliver)


def _give_up(future: asyncio.Future[list[Answer]]) -> None:
    if not future.done():
        future.set_exception(unavailable("the database is too slow: send the same event again later"))
