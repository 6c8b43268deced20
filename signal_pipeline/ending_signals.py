"""The signals that ask a process to end, and how it ends in order: its exit handlers run, and
nothing cuts them short.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def exit_on_signals() -> None:
    """Turn the signals that are not ignored (nohup, a job in the background) into an exit that runs
    exit handlers.
    """
    for number in ENDING_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _exit)


def _exit(number: int, _: FrameType | None) -> None:
    if not threading.main_thread().is_alive():  # The exit handlers run already.
        return
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def ignore_ending_signals() -> None:
    """Let nothing but SIGKILL cut short what this process, and its children from now on, do
    last.
    """
    with suppress(ValueError):  # Not the main thread, which alone gets signals.
        for number in ENDING_SIGNALS:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Deliver the signals that come meanwhile afterwards; child processes hold them back too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
