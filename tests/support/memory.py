"""Memory for the data of the servers that tests share: files there cost less than on a disk.

Each test has a database of its own, so the tests make and remove some hundred thousand files. On a
disk, looking after these takes the system a twentieth of the CPU of all tests.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

MEMORY = Path("/dev/shm")
LEAST_BYTES = 6 * 2**30  # Far more than all servers of a run take together.
PREFIX = "signal-tests-"


@cache
def folder_in_memory() -> Path | None:
    """A folder in memory that is removed with this process; None if there is too little memory."""
    if not MEMORY.is_dir():
        return None
    if min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available) < LEAST_BYTES:
        return None
    _remove_what_killed_processes_left()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=MEMORY))
    folder.chmod(0o755)  # If root runs the tests, the servers run as other users.
    held = FileLock(folder / ".lock")
    held.acquire()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(held.release)
    return folder


def _remove_what_killed_processes_left() -> None:
    """Remove the folders whose lock nobody holds."""
    for left in MEMORY.glob(f"{PREFIX}*"):
        # A folder without a lock is just being made.
        with suppress(Timeout, OSError):
            if (left / ".lock").exists():
                with FileLock(left / ".lock", timeout=0):
                    shutil.rmtree(left, ignore_errors=True)
