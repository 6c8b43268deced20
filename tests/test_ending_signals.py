"""A process that is told to end does so once, without a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from support.waits import PATIENCE_SECONDS

# The signal comes with the first step of the interpreter's shutdown, after the program's last line.
PROGRAM = """\
import os, signal, sys
from signal_pipeline.system.ending_signals import exit_on_signals

number = int(sys.argv[1])
signal.signal(number, signal.SIG_DFL)
exit_on_signals()

def send(frame, event, _):
    if frame.f_code.co_name == "_shutdown":
        os.kill(os.getpid(), number)

sys.settrace(send)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_the_interpreter_ends_changes_nothing(number: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(int(number))],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
