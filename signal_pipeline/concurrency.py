"""Runs calls on threads, with their results in order, and shortens Python's switch interval."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, wait
from contextlib import contextmanager
from typing import TypeVar

Result = TypeVar("Result")

SWITCH_SECONDS = 0.0001


class _SwitchInterval:
    """The interpreter's switch interval while some thread wants it short.

    The interval belongs to the whole process. If two threads each restored the interval that they
    found, the short one could stay for ever.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted = 0
        self._usual = 0.0

    def shorten(self) -> None:
        with self._lock:
            if not self._wanted:
                self._usual = sys.getswitchinterval()
                sys.setswitchinterval(SWITCH_SECONDS)
            self._wanted += 1

    def restore(self) -> None:
        with self._lock:
            self._wanted -= 1
            if not self._wanted:
                sys.setswitchinterval(self._usual)


_INTERVAL = _SwitchInterval()


@contextmanager
def short_switch_interval() -> Iterator[None]:
    """Let Python switch threads every 0.1 ms until the last thread inside the context leaves it.

    With the default, a thread that has waited for PostgreSQL or DuckDB waits up to 5 ms more, each
    time.
    """
    _INTERVAL.shorten()
    try:
        yield
    finally:
        _INTERVAL.restore()


def submit_ahead(
    pool: Executor, calls: Iterable[Callable[[], Result]], ahead: int
) -> Generator[Future[Result], None, None]:
    """Yield the future of each call, in order, while up to `ahead` later calls are submitted.

    A call that fails does not hold back the calls after it.
    """
    coming = deque[Future[Result]]()
    for call in calls:
        coming.append(pool.submit(call))
        if len(coming) > ahead:
            yield coming.popleft()
    yield from coming


def run_while_preparing(
    pool: Executor, calls: Iterable[Callable[[], Result]]
) -> Generator[Result, None, None]:
    """Yield the result of each call, in order, and take the next call while one runs.

    Taking a call from `calls` prepares it, in the caller's thread. Only one call runs at a time,
    and no call begins after a failed one. If a call cannot be taken, or the caller is interrupted,
    the result of the call that runs is yielded before the error is raised.
    """
    running: Future[Result] | None = None
    coming = iter(calls)
    while True:
        try:
            call = next(coming, None)
            if running is not None:
                wait([running])
        except BaseException:
            # Also an interrupt: the call that runs ends all the same, so yield its result.
            if running is not None:
                yield running.result()
            raise
        if running is not None:
            yield running.result()
        if call is None:
            return
        running = pool.submit(call)
