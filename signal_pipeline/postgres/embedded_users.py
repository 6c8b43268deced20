"""The users of the embedded server: processes with a shared lock on `SIGNAL_HOME/.postgres.users`.

The kernel releases the lock however the process ends. So a process that was killed or is a zombie
is no user, even if another program has its process id by now. Call these functions under the lock
of the home, which guards the start and stop of the server.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

# The descriptors of the locks, by process id and home. The id is needed because a forked child
# inherits the descriptors. The locks are from `flock` and not from `filelock`, because users share
# the lock, and keep it as long as their process lives.
_descriptors: dict[tuple[int, Path], int] = {}


def is_user(home: Path) -> bool:
    """True if this process has joined; needs no lock."""
    return (os.getpid(), home) in _descriptors


def join(home: Path) -> None:
    """Count this process as a user until it leaves or ends."""
    descriptor = os.open(home / ".postgres.users", os.O_RDONLY | os.O_CREAT, 0o644)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    _descriptors[os.getpid(), home] = descriptor


def is_alone(home: Path) -> bool:
    """True if this process is the only user."""
    descriptor = _descriptors[os.getpid(), home]
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    return True


def leave(home: Path) -> None:
    """Stop counting this process as a user."""
    descriptor = _descriptors.pop((os.getpid(), home))
    # Closing is not enough: a forked child has the descriptor too.
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)
