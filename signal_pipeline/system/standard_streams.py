"""Standard streams that were already closed when this process started (`command >&-`).

Python sets such a stream to None, and the next file or socket that is opened gets its number. A
child would then write its messages into that file.
"""

from __future__ import annotations

import io
import os
import sys

from signal_pipeline.errors import SignalError


class _ClosedOutput(io.TextIOBase):
    """A standard output that was closed: what is lost must not look like success."""

    @property
    def buffer(self) -> io.TextIOBase:
        raise SignalError("there is no standard output: it was closed")

    def write(self, _text: str, /) -> int:
        raise SignalError("there is no standard output: it was closed")


def open_closed_streams() -> None:
    """Give this process, and its children, all three standard streams.

    What is written to a closed stderr is lost. Writing to a closed stdout raises SignalError.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is this one, since those before it are open.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdout is None:
        sys.stdout = _ClosedOutput()
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
