"""Who uses the embedded server: each process that does holds a shared lock on
`SIGNAL_HOME/.postgres.users`.

The kernel takes the lock back however the process ends. So one that was killed, or is a zombie, or
whose number another program has by now, is no user. Call these functions under the lock of the
home, by which the server starts and stops.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

_descriptors: dict[
    tuple[int, Path], int
] = {}  # By process, since a forked child inherits them, and home.


def is_user(home: Path) -> bool:
    """Whether this process has joined; needs no lock."""
    return (os.getpid(), home) in _descriptors


def join(home: Path) -> None:
    """Count this process as a user until it leaves or ends."""
    descriptor = os.open(home / ".postgres.users", os.O_RDONLY | os.O_CREAT, 0o644)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    _descriptors[os.getpid(), home] = descriptor


def is_alone(home: Path) -> bool:
    """Whether this user is the only one."""
    descriptor = _descriptors[os.getpid(), home]
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    return True


def leave(home: Path) -> None:
    """Count this process no more."""
    descriptor = _descriptors.pop((os.getpid(), home))
    fcntl.flock(
        descriptor, fcntl.LOCK_UN
    )  # Closing is not enough: a forked child has the descriptor too.
    os.close(descriptor)
