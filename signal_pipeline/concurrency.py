"""Shortens the interpreter's switch interval while one thread computes and another does I/O."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS = 0.0001


@contextmanager
def short_turns() -> Iterator[None]:
    """Let Python switch threads every 0.1 ms inside the context.

    With the default, a thread that has waited for PostgreSQL or DuckDB waits up to 5 ms more, each
    time.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)
