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


HELD_BACK = """\
import os, signal, sys, threading
from signal_pipeline.system.ending_signals import exit_on_signals, signals_held_back

number, is_other_thread = int(sys.argv[1]), sys.argv[2] == "another"
signal.signal(number, signal.SIG_DFL)
exit_on_signals()
done = threading.Event()
other = threading.Thread(target=done.wait, daemon=True)
other.start()
try:
    with signals_held_back():
        if is_other_thread:
            signal.pthread_kill(other.ident, number)
        else:
            os.kill(os.getpid(), number)
        for _ in range(1_000_000):
            pass
        print("held")
        if sys.argv[3] == "error":
            raise ValueError
    print("lost")
except (KeyboardInterrupt, SystemExit) as end:
    print(type(end).__name__)
"""


@pytest.mark.parametrize("ends_by", ["its end", "error"])
@pytest.mark.parametrize("thread", ["any", "another"])
@pytest.mark.parametrize(
    ("number", "end"), [(signal.SIGINT, "KeyboardInterrupt"), (signal.SIGTERM, "SystemExit")]
)
def test_a_signal_is_held_back_whichever_thread_gets_it(
    number: int, end: str, thread: str, ends_by: str
) -> None:
    """A library such as numpy has threads that block no signal."""
    done = subprocess.run(
        [sys.executable, "-c", HELD_BACK, str(int(number)), thread, ends_by],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["held", end], "")


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
