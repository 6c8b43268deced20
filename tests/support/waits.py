"""How long tests wait for what should happen by itself, and how they ask for it."""

from __future__ import annotations

import time
from collections.abc import Callable

# No measurement: with a load of twenty on two cores everything is slow, and still right.
PATIENCE_SECONDS = 600.0


def until(
    question: Callable[[], object],
    what: str = "what the test waits for",
    patience: float = PATIENCE_SECONDS,
    pause: float = 0.1,
) -> None:
    """Ask until the answer is yes, with a pause (in seconds) after each no.

    It fails after a patience that says nothing about how fast it should be.
    """
    give_up = time.monotonic() + patience
    while not question():
        assert time.monotonic() < give_up, f"never: {what}"
        time.sleep(pause)


def eventually(
    question: Callable[[], object], what: str, patience: float = PATIENCE_SECONDS
) -> None:
    """Ask once a second, since each question costs the server that is asked."""
    until(question, what, patience, pause=1)
