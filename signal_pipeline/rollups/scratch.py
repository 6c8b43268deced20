"""Private temporary folders below `SIGNAL_HOME/tmp`.

A folder is removed at the end; after a crash, the next call removes it. An engine spills rows of
events into it, with their hashes, so only the owner can read it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from signal_pipeline.rollups.engine import EngineError

_PREFIX = "build-"


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Yield a new folder in `parent`, both of mode 0700; the new one is removed at the end.

    A folder is in use as long as a process holds a lock on it. Unlocked folders, left behind by
    processes that were killed, are removed here. Raises EngineError if the folder cannot be made.
    """
    try:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        parent.chmod(0o700)
        with _lock(parent):
            _remove_abandoned(parent)
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            descriptor = _open_locked(folder)
    except OSError as error:
        raise EngineError(
            f"no temporary folder can be made in {parent}: {error.strerror}"
        ) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        try:
            with _lock(folder, fcntl.LOCK_NB):
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # In use, removed by its owner just now, or another user's.


@contextmanager
def _lock(folder: Path, flags: int = 0) -> Iterator[None]:
    descriptor = _open_locked(folder, flags)
    try:
        yield
    finally:
        os.close(descriptor)


def _open_locked(folder: Path, flags: int = 0) -> int:
    # `flock` and not `filelock`: the lock is on the folder itself, and goes with it.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | flags)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
