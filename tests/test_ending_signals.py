"""A process that is told to end does so once, without a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

# Its second thread sends the signal when the interpreter waits for it at the end of the program.
PROGRAM = """\
import os, signal, sys, threading
from signal_pipeline.ending_signals import exit_on_signals

main, number = threading.get_ident(), int(sys.argv[1])
signal.signal(number, signal.SIG_DFL)
exit_on_signals()

def names(frame):
    while frame is not None:
        yield frame.f_code.co_name
        frame = frame.f_back

def send():
    while "_shutdown" not in names(sys._current_frames()[main]):
        pass
    os.kill(os.getpid(), number)

threading.Thread(target=send).start()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_the_interpreter_ends_changes_nothing(number: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(int(number))],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
