"""The spool, where events wait on disk, already hashed, while the database is away.

Each batch has one file, which is written and synced before anybody is answered. Files are drained
in order. The transaction that stores a file's events records the file's random name, so that a
crash before the file is removed stores and counts nothing twice. A file holds what the database
would hold: no address, no user agent. Events that PostgreSQL will never take, and files that are
damaged or not ours, are set aside as `.refused`, and deleted when their day is due for purging.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from datetime import date
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

from signal_pipeline.days.calendar import first_kept_day, today_utc
from signal_pipeline.errors import SignalError
from signal_pipeline.events.event import AcceptedEvent, Drop
from signal_pipeline.ingest.folders import sync_folder
from signal_pipeline.ingest.spool_batch import (
    NOT_A_BATCH,
    SpooledBatch,
    decode,
    encode,
    first_day,
    written_on,
)
from signal_pipeline.ingest.spool_files import (
    identity_of,
    is_spooled_file,
    number_of,
    refused_file,
    refused_files,
    unfinished_file,
    unfinished_files,
    waiting_file,
    waiting_files,
)
from signal_pipeline.ingest.spool_writes import write_once
from signal_pipeline.ingest.writer import EventWriter
from signal_pipeline.postgres.database import Database

logger = logging.getLogger(__name__)

MAX_SPOOL_BYTES = 1 << 30
DRAIN_SECONDS = 1.0  # How long one drain holds up new events, apart from its last file.


class SpoolError(SignalError):
    """The error for a spool that cannot be used or is full."""


class SpoolInUseError(SpoolError):
    """The error for a folder that another process holds."""


# Other errors of a read, such as too many open files, are not the fault of the file.
_FAULTS_OF_A_FILE = {errno.EACCES, errno.EIO, errno.EISDIR, errno.EPERM}


class Spool:
    """The spool of one process.

    `shares` is the number of spools that share the room on the disk. `waiting` says whether files
    wait.

    Raises SpoolInUseError if another process holds the folder.
    """

    def __init__(
        self, folder: Path, database: Database, key_id: str, retention_days: int, shares: int = 1
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        self._folder = folder
        self._database = database
        self._key_id = key_id
        self._retention_days = retention_days
        self._shares = shares
        self._expired_on = date.min
        self._lock = lock_spool(folder)
        self._left: set[Path] = set()  # Files that are left alone until the next start.
        # These files are from a process that was killed before it acknowledged their events.
        for draft in unfinished_files(folder):
            draft.unlink()
        for path in waiting_files(folder):
            if not is_spooled_file(path):
                self._set_aside(path, "its name is not that of a spooled file")
        self._listed: deque[Path] = deque()
        self._bytes = 0
        self._list_waiting()
        self._number = number_of(self._listed[-1]) if self._listed else 0
        self.waiting = bool(self._listed)
        self.expire()

    def close(self) -> None:
        """Release the folder."""
        self._lock.release()

    def append(self, checked: Sequence[AcceptedEvent | Drop]) -> None:
        """Write a batch and sync it. Raises SpoolError if the spool is full or the disk refuses."""
        data = encode(checked, self._key_id)
        limit = MAX_SPOOL_BYTES // self._shares
        if self._bytes + len(data) > limit:
            raise SpoolError(f"the spool holds {limit >> 20} MB: no more events are taken")
        self._number += 1
        path = waiting_file(self._folder, self._number)
        self._write(path, data)
        self._bytes += len(data)
        self.waiting = True

    def drain(self) -> None:
        """Store waiting batches, in order, exactly once, for about DRAIN_SECONDS.

        If any batch waits, at least one is handled. `waiting` says whether files are left for the
        next drain.

        Raises DatabaseError, and SpoolError if refused events cannot be set aside; the remaining
        files then stay and wait.
        """
        # To list a long spool takes longer than a drain, so each list is used to its end.
        if not self._listed:
            self._list_waiting()
        give_up = time.monotonic() + DRAIN_SECONDS
        with ExitStack() as open_writers:

            @cache
            def writer_of(key_id: str, hash_rules: int) -> EventWriter:
                writer = EventWriter(self._database, key_id, hash_rules)
                return open_writers.enter_context(closing(writer))

            while self._listed:
                with suppress(FileNotFoundError):  # Somebody has taken the file away.
                    self._drain_file(self._listed[0], writer_of)
                self._listed.popleft()
                if not self._listed:
                    self._list_waiting()
                if time.monotonic() >= give_up:
                    break
        self.waiting = bool(self._listed)

    def expire(self) -> None:
        """Delete set-aside files that are due for purging, at most once a day.

        The retention does the same with stored events.
        """
        today = today_utc()
        if today == self._expired_on:
            return
        self._expired_on = today
        deleted, failed = self._delete_due(first_kept_day(today, self._retention_days))
        if failed:
            logger.error(
                "files of the spool with the suffix .refused cannot be expired (%d): %s",
                len(failed),
                failed[0].strerror,
            )
        if deleted:
            logger.warning(
                "%d file(s) of the spool with the suffix .refused were due, and are deleted",
                deleted,
            )

    def _delete_due(self, due: date) -> tuple[int, list[OSError]]:
        """Delete set-aside files of days before `due`; return how many, and what went wrong.

        A file that cannot be read or deleted holds up no other.
        """
        deleted, failed = 0, list[OSError]()
        try:
            paths = refused_files(self._folder)
        except OSError as error:
            return 0, [error]
        for path in paths:
            try:
                if first_day(path) < due:
                    path.unlink()
                    deleted += 1
            except OSError as error:
                failed.append(error)
        return deleted, failed

    def _drain_file(self, path: Path, writer_of: Callable[[str, int], EventWriter]) -> None:
        size, batch = path.stat().st_size, self._read_or_set_aside(path)
        if batch is not None:
            self._store(path, batch, writer_of(batch.key_id, batch.hash_rules))
            try:
                path.unlink(missing_ok=True)
            except OSError as error:  # After the next start it is not stored twice.
                self._leave(path, "is stored and cannot be removed", error)
            else:
                sync_folder(self._folder)
        self._bytes -= size

    def _list_waiting(self) -> None:
        """List the files that wait now, in order, and count their bytes."""
        waiting = waiting_files(self._folder)
        self._listed.extend(path for path in waiting if path not in self._left)
        self._bytes = sum(path.stat().st_size for path in self._listed)

    def _store(self, path: Path, batch: SpooledBatch, writer: EventWriter) -> None:
        """Store a batch.

        If the database refuses the batch for good, only the bad items are set aside.
        """
        identity, size = identity_of(path), path.stat().st_size
        received_on = written_on(path)
        items: list[AcceptedEvent | Drop] = [*batch.events, *batch.drops]
        if write_once(writer, items, received_on, identity, size) is None:
            return
        refused, reasons = list[AcceptedEvent | Drop](), dict[str, None]()
        for number, item in enumerate(items):
            own_identity = hashlib.sha256(identity + number.to_bytes(4)).digest()
            reason = write_once(writer, [item], received_on, own_identity, size)
            if reason is not None:
                refused.append(item)
                reasons[reason] = None
        if refused:
            logger.error(
                "%d of %d events of a spooled file are kept with the suffix .refused: %s",
                len(refused),
                len(items),
                "; ".join(reasons),
            )
            self._write(refused_file(path), encode(refused, batch.key_id, batch.hash_rules))
        write_once(writer, [], received_on, identity, size)  # The whole file is done.

    def _write(self, path: Path, data: bytes) -> None:
        """Write a whole file and sync it. Raises SpoolError if that fails."""
        draft = unfinished_file(path)
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.rename(path)
            sync_folder(self._folder)
        except OSError as error:
            for half in (draft, path):  # These events are not acknowledged.
                with suppress(OSError):  # The first error says why.
                    half.unlink(missing_ok=True)
            self.waiting = True  # A file that could not be removed still waits.
            raise SpoolError(f"the spool cannot be written: {error.strerror}") from None

    def _read_or_set_aside(self, path: Path) -> SpooledBatch | None:
        """Return the batch of a file, or None if it cannot be stored.

        A file that is no batch is set aside. A file that the disk or its access rights do not let
        us read may still be whole. So it stays where it is, holds up no other file, and is read
        again at the next start.
        """
        if not is_spooled_file(path):
            self._set_aside(path, "its name is not that of a spooled file")
            return None
        try:
            return decode(path.read_bytes())
        except NOT_A_BATCH:
            self._set_aside(path, "not a batch")
        except OSError as error:
            if error.errno not in _FAULTS_OF_A_FILE:
                raise
            self._leave(path, "cannot be read", error)
        return None

    def _set_aside(self, path: Path, reason: str) -> None:
        """Move a file that cannot be stored out of the way of the others."""
        try:
            path.rename(refused_file(path))
        except OSError as error:
            self._leave(path, f"cannot be stored ({reason}) nor renamed", error)
        else:
            logger.error("a file of the spool is kept with the suffix .refused: %s", reason)

    def _leave(self, path: Path, what: str, error: OSError) -> None:
        """Leave a file where it is until the next start, so that it holds up no other."""
        self._left.add(path)
        logger.error(
            "a file of the spool %s, and waits for the next start of `serve`: %s",
            what,
            error.strerror,
        )


def lock_spool(folder: Path) -> FileLock:
    """Return the lock of a spool's folder, taken until it is released or this process ends.

    Raises SpoolInUseError if another process holds it.
    """
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise SpoolInUseError(
            "SIGNAL_SPOOL_DIR is in use: give each server a folder of its own"
        ) from None
    return lock
