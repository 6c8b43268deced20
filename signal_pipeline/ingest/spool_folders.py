"""The folders of the spools of one server: `SIGNAL_SPOOL_DIR`, and `worker-2` and so on inside it.

Each worker takes the first folder that no other worker holds. So a worker that replaces a killed
one finds the killed one's files, and stores them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from signal_pipeline.ingest.folders import sync_folder
from signal_pipeline.ingest.spool import Spool, SpoolInUseError, lock_spool
from signal_pipeline.ingest.spool_files import (
    refused_files,
    spool_folders,
    unfinished_files,
    waiting_files,
    worker_folder,
)


def gather_spools(folder: Path, workers: int) -> None:
    """Move the files that a server with more workers left behind into the first worker's folder.

    With one worker and no folder left behind, this does nothing. Otherwise it first makes the
    folders of all workers. It then raises SpoolInUseError if a server still uses the first folder
    or one that was left behind.
    """
    used = [worker_folder(folder, number) for number in range(1, workers + 1)]
    left = [each for each in spool_folders(folder) if each not in used]
    if not left and workers == 1:
        return
    for each in used:
        each.mkdir(parents=True, exist_ok=True)
    with ExitStack() as locks:
        locks.callback(lock_spool(folder).release)
        sync_folder(folder)
        for each in left:
            locks.callback(lock_spool(each).release)
            _move_files(each, folder)


def _move_files(left: Path, folder: Path) -> None:
    for draft in unfinished_files(left):  # Nobody was told that these events are kept.
        draft.unlink()
    for path in [*waiting_files(left), *refused_files(left)]:
        path.rename(folder / path.name)  # Its name is unique, because it holds random bytes.
    sync_folder(folder)
    sync_folder(left)


def open_first_free(folder: Path, workers: int, spool: Callable[[Path], Spool]) -> Spool:
    """Open the first of the workers' folders that is free. Raises SpoolInUseError if none is."""
    for number in range(1, workers):
        try:
            return spool(worker_folder(folder, number))
        except SpoolInUseError:
            continue
    return spool(worker_folder(folder, workers))
