"""The committing half of a group commit: one thread that stores batches, one after the other.

The thread owns the connection of its ingest. It acknowledges a batch only once the batch's
transaction is committed, or once the batch is written to the spool.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence

from signal_pipeline.api.refusals import ApiError, log_as_unavailable, unavailable
from signal_pipeline.api.spooling_ingest import Answer, SpoolingIngest
from signal_pipeline.events.event import AcceptedEvent, Drop
from signal_pipeline.ingest.spool import SpoolError
from signal_pipeline.postgres.database import DatabaseError

logger = logging.getLogger(__name__)

SPOOL_SECONDS = 1.0  # How often an idle thread checks whether the database is back.

# The checked events of each request in a batch, and what becomes of each request.
Batch = Sequence[Sequence[AcceptedEvent | Drop]]
Result = Sequence[Answer] | ApiError


class Committer:
    """A thread that stores the batches it is sent.

    `on_results` is called on the thread, with one result for each request of a batch.
    """

    def __init__(
        self, ingest: SpoolingIngest, on_results: Callable[[Sequence[Result]], object]
    ) -> None:
        self._ingest = ingest
        self._on_results = on_results
        self._batches: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._can_drain_more = False
        self._thread = threading.Thread(target=self._run, name="signal-group-commit", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Return whether the thread still runs."""
        return self._thread.is_alive()

    def send(self, batch: Batch) -> None:
        """Give the thread a batch to store. The batch must not be empty."""
        self._batches.put(batch)

    def stop(self) -> None:
        """Wait until the thread has stored what it was sent, and has closed its connection."""
        self._batches.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            if batch:
                self._on_results(self._results(batch))
            self._tend_spool(is_idle=not batch)
        self._ingest.close()

    def _tend_spool(self, is_idle: bool) -> None:
        """Look after the spool. No error may end the thread, or no more events would be stored."""
        self._can_drain_more = False
        try:
            if is_idle:
                self._can_drain_more = self._ingest.drain_spool()
            self._ingest.expire_spool()
        except Exception as error:
            logger.error("looking after the spool failed: %s", type(error).__name__)

    def _next_batch(self) -> Batch | None:
        """Return the next batch: an empty one when there is time for the spool, None at the end."""
        pause = 0.0 if self._can_drain_more else SPOOL_SECONDS
        try:
            return self._batches.get(timeout=pause if self._ingest.has_spool else None)
        except queue.Empty:
            return []

    def _results(self, batch: Batch) -> list[Result]:
        """Store a batch. Return, for each request, its answers or the error that replaces them."""
        try:
            answers = self._ingest.store([item for request in batch for item in request])
        except SpoolError as error:
            logger.warning("%s", error)
            return [
                unavailable("the database cannot be reached: send the same event again later")
            ] * len(batch)
        except Exception as error:
            if (
                isinstance(error, DatabaseError)
                and (refusal := log_as_unavailable(error)) is not None
            ):
                return [refusal] * len(batch)
            # Any other error is logged by its type only, since its text can hold values.
            known = isinstance(error, DatabaseError)
            logger.error("storing a batch failed: %s", error if known else type(error).__name__)
            if len(batch) == 1:
                return [ApiError("INTERNAL", "the event could not be stored", 500)]
            # One bad event must not fail the others.
            return [result for request in batch for result in self._results([request])]
        return _split_by_request(batch, answers)


def _split_by_request(batch: Batch, answers: Sequence[Answer]) -> list[Result]:
    """Return the answers of a whole batch as one list for each of its requests."""
    results: list[Result] = []
    start = 0
    for request in batch:
        results.append(answers[start : start + len(request)])
        start += len(request)
    return results
