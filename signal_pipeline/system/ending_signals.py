"""The signals that ask a process to end, and the means to end cleanly.

A process that ends cleanly runs its exit handlers, and nothing cuts them short.
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
    """Exit on the ending signals in a way that runs exit handlers.

    Signals that are ignored stay ignored (nohup, a job in the background).
    """
    for number in ENDING_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _exit)


def _exit(number: int, frame: FrameType | None) -> None:
    if _is_shutting_down(frame):
        return
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def _is_shutting_down(frame: FrameType | None) -> bool:
    """Return whether the interpreter already waits for threads or runs the exit handlers.

    `frame` is the frame that the signal interrupted. While the interpreter waits for the other
    threads, the main thread still counts as alive, so the wait has to be known by its frame. The
    interpreter waits in `threading._shutdown`. No Python code has called that function, so its
    frame is the outermost one.
    """
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    waits_for_threads = frame is None or frame.f_code.co_qualname == "_shutdown"
    return waits_for_threads or not threading.main_thread().is_alive()


def ignore_ending_signals() -> None:
    """Ignore the ending signals, so that none of them cuts short what this process does last.

    Child processes that start from now on ignore them too.
    """
    # Python raises this in any thread but the main one, which alone runs handlers of signals.
    with suppress(ValueError):
        for number in ENDING_SIGNALS:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Hold back the ending signals until the end of the context, also if an error ends it.

    A child process that starts in the context holds them back until it accepts them itself.
    """
    with _handlers_held_back():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _handlers_held_back() -> Iterator[None]:
    """Hold back what the main thread does at a signal that reaches another thread.

    The threads of a library, such as those of numpy, block no signals. If one of them gets a
    signal, Python calls the handler in the main thread all the same.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen: list[int] = []
    handlers = {
        number: handler
        for number in ENDING_SIGNALS
        if callable(handler := signal.getsignal(number))
    }
    for number in handlers:
        signal.signal(number, lambda number, _: seen.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        # In `finally`, so that no signal is lost if the context ends with an error.
        for held in dict.fromkeys(seen):
            signal.raise_signal(held)


def accept_signals() -> None:
    """Accept the ending signals in a process that started while its parent held them back."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING_SIGNALS)
