"""Loading what a process keeps to its end, without Python's garbage collector."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loaded_for_good() -> Iterator[None]:
    """Load modules, or make objects, that stay until the process ends.

    What is loaded is not garbage, so the collector is off meanwhile. After the context, the
    collector skips every object that exists by then, unless DuckDB is loaded. The context can be
    nested. A collector that was off stays off.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        # At the exit, DuckDB prints a warning for each of its objects that the collector skipped.
        if "duckdb" not in sys.modules:
            gc.freeze()
        if was_on:
            gc.enable()
