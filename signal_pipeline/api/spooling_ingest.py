"""An ingest that outlives an outage of the database.

It tries a second time where that can help, starts an embedded database again, and keeps events in
the spool while the database is away.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from signal_pipeline.events.event import AcceptedEvent, Drop
from signal_pipeline.ingest.books import Outcome
from signal_pipeline.ingest.drop_log import kinds_of_drops, log_drops
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.ingest.spool import Spool, SpoolError
from signal_pipeline.postgres.database import DatabaseError, DatabaseUnreachableError

logger = logging.getLogger(__name__)

# If a try to reach the database took longer than this, callers do not wait for a second one.
QUICK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Spooled:
    """The answer for an event that waits on disk until the database is back.

    It is not known yet whether the event is new or a duplicate.
    """

    kind: Literal["spooled"] = "spooled"
    reason: None = None


Answer = Outcome | Spooled


class SpoolingIngest:
    """An ingest with a spool, used by one thread.

    Without a spool, an event that cannot be stored is an error. `revive` is called when the
    database cannot be reached, for example to start an embedded one again.

    When the database hangs, a try fails only after many seconds. So after a failed try, the
    database is left alone for as long as that try took, and events go straight to the spool. A try
    that failed quickly is first repeated at once. `clock` returns seconds.
    """

    def __init__(
        self,
        ingest: Ingest,
        spool: Spool | None,
        revive: Callable[[], object] | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ingest = ingest
        self._spool = spool
        self._revive = revive
        self._clock = clock
        self._next_try = 0.0
        self._kept_because = ""

    @property
    def has_spool(self) -> bool:
        """Return whether events are kept on disk while the database is away."""
        return self._spool is not None

    def store(self, checked: Sequence[AcceptedEvent | Drop]) -> Sequence[Answer]:
        """Store events in one transaction, or spool them all, and return the answer to each.

        Spooled events keep their order: while some wait, later ones are spooled behind them.

        Raises DatabaseError if the events are neither stored nor spooled, and SpoolError if the
        spool is full or cannot be written.
        """
        if self._spool is None:
            return self._store(checked)
        if self._spool.waiting:
            if self._is_time_to_try():
                self._drain(self._spool)
            if self._spool.waiting:
                return _spool(self._spool, checked)
        try:
            return self._store(checked)
        except DatabaseUnreachableError as error:
            logger.warning("%s; events go to the spool", error)
            return _spool(self._spool, checked)

    def drain_spool(self) -> bool:
        """Spend about a second on storing the events that wait in the spool.

        Return whether more events wait that can be stored right away.
        """
        if self._spool is None or not self._spool.waiting or not self._is_time_to_try():
            return False
        return self._drain(self._spool) and self._spool.waiting

    def expire_spool(self) -> None:
        """Delete set-aside files of the spool that are due for purging."""
        if self._spool is not None:
            self._spool.expire()

    def close(self) -> None:
        """Close the connection to the database."""
        self._ingest.close()

    def _store(self, checked: Sequence[AcceptedEvent | Drop]) -> list[Outcome]:
        started = self._clock()
        try:
            return self._try_to_store(checked)
        except DatabaseError as error:
            if isinstance(error, DatabaseUnreachableError):
                slow = self._clock() - started > QUICK_SECONDS
                self._try_to_revive()
                if slow:
                    raise
            elif not error.is_transient:
                raise
            # The second try can succeed: an idle connection does not notice a restart, and a lock
            # can be free by now.
            return self._try_to_store(checked)

    def _is_time_to_try(self) -> bool:
        return self._clock() >= self._next_try

    def _wait_as_long_as(self, started: float) -> None:
        """Put off the next try by as long as the one that began at `started` took."""
        self._next_try = 2 * self._clock() - started

    def _try_to_store(self, checked: Sequence[AcceptedEvent | Drop]) -> list[Outcome]:
        """Store events. A server that refuses all writes for now counts as unreachable."""
        started = self._clock()
        try:
            return self._ingest.store(checked)
        except DatabaseError as error:
            if not error.is_refusing_work and not isinstance(error, DatabaseUnreachableError):
                raise
            self._wait_as_long_as(started)
            raise DatabaseUnreachableError(str(error), error.sqlstate) from None

    def _try_to_revive(self) -> None:
        """Start the database again if that is our task.

        No error of `revive` gets out: a database that does not start still counts as away, and not
        as an error of another kind.
        """
        if self._revive is None:
            return
        try:
            self._revive()
        except Exception as error:
            logger.warning("the database was not started again: %s", type(error).__name__)

    def _drain(self, spool: Spool) -> bool:
        """Store events of the spool for a while, and return whether there was no error."""
        started = self._clock()
        try:
            spool.drain()
        except DatabaseUnreachableError:
            self._wait_as_long_as(started)
            self._try_to_revive()
            return False
        except (DatabaseError, SpoolError) as error:
            if str(error) != self._kept_because:  # Logged once; each request tries again.
                logger.error("the spool is kept: %s", error)
            self._kept_because = str(error)
            return False
        except Exception as error:
            logger.error("draining the spool failed: %s", type(error).__name__)
            return False
        self._kept_because = ""
        return True


def _spool(spool: Spool, checked: Sequence[AcceptedEvent | Drop]) -> list[Answer]:
    """Write events to the spool. The outcome of a drop is known all the same, and logged."""
    spool.append(checked)
    drops = {
        position: Outcome("dropped", item.reason)
        for position, item in enumerate(checked)
        if isinstance(item, Drop)
    }
    log_drops(kinds_of_drops((checked[position], outcome) for position, outcome in drops.items()))
    return [drops.get(position) or Spooled() for position in range(len(checked))]
