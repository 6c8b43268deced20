"""Work on several threads whose results come in order, and the interpreter's switch interval."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import TypeVar

Result = TypeVar("Result")

SWITCH_SECONDS = 0.0001


@contextmanager
def short_switch_interval() -> Iterator[None]:
    """Let Python switch threads every 0.1 ms inside the context.

    With the default, a thread that has waited for PostgreSQL or DuckDB waits up to 5 ms more, each
    time.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


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
    """Yield the result of each call, in order; the next is prepared while one runs.

    Only one call runs at a time, and none begins after one that failed.
    """
    running: Future[Result] | None = None
    for call in calls:
        if running is not None:
            yield running.result()
        running = pool.submit(call)
    if running is not None:
        yield running.result()
