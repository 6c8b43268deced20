"""Turns of Python's threads: short where one thread computes and another needs the interpreter for
moments only.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS = 0.0001


@contextmanager
def short_turns() -> Iterator[None]:
    """Let threads change after 0.1 ms. By default a thread that waits for PostgreSQL or DuckDB
    waits 5 ms more, each time.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)
