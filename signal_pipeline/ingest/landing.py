"""The landing folder, where files of a trusted replay wait to be ingested exactly once.

A file is identified by a keyed digest of its content, never by its name. The transaction that
stores its events also records how much of the file is ingested, so a crash between two batches, or
before the file is removed, does no harm. A file that is not NDJSON, or cannot be read to its end,
stays under its name, and every drain reports it until somebody deals with it.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from stat import S_IMODE, S_ISDIR, S_ISLNK, S_ISREG
from typing import BinaryIO, NamedTuple

from signal_pipeline.errors import SignalError
from signal_pipeline.ingest.folders import sync_folder
from signal_pipeline.ingest.landing_labels import label_of
from signal_pipeline.ingest.ndjson import StreamError, check_form
from signal_pipeline.ingest.pipeline import Counts, Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.locks import LockClass, try_session_lock
from signal_pipeline.postgres.query import query

MAX_TEXTS = 10


@dataclass(frozen=True, slots=True)
class DrainResult:
    """The result of a drain of the landing."""

    files: int
    counts: Counts


class LandingError(SignalError):
    """The landing or an entry could not be read, taken or removed, or an entry changed meanwhile.

    `drained` is what a drain did with the other entries; it is None if no entry was looked at.
    """

    def __init__(self, message: str, drained: DrainResult | None = None) -> None:
        super().__init__(message)
        self.drained = drained


class Entry(NamedTuple):
    """An entry of the landing folder.

    `changed` is the earlier of the times of its last change (mtime, ctime), in seconds since 1970.
    `obstacle` says why the entry can never be taken; it is None for a file.
    """

    changed: float
    path: Path
    inode: int
    size: int
    obstacle: str | None

    @property
    def unfinished(self) -> bool:
        """Return whether the name says that its writer is not done with it."""
        return self.path.name.startswith(".") or self.path.name.lower().endswith(".tmp")

    @property
    def label(self) -> str:
        """Return what messages call the entry: its name, unless that is private."""
        return label_of(self.path.name, inode=self.inode, size=self.size)


def landed_files(folder: Path) -> list[Path]:
    """Return the paths that wait in the landing, oldest first, whatever their suffixes.

    A writer moves a file in when it is finished. A hidden file, or one whose name ends in `.tmp`,
    counts as unfinished and is left out. Empty folders are left out too. Raises LandingError for a
    landing that cannot be read.
    """
    return [entry.path for entry in entries(folder) if not entry.unfinished]


def marks_of_landed(folder: Path, secret: bytes) -> set[str]:
    """Return a mark of each entry that waits, made from its name and inode.

    An entry keeps its mark if it grows or its permissions change. A mark is a digest under a key,
    because marks are remembered, a name can hold an address or a person's name, and anybody could
    undo a plain digest by trying all likely names.
    """
    key = hmac.digest(secret, b"signal/landed-name", "sha256")
    return {_mark(entry, key) for entry in entries(folder) if not entry.unfinished}


def _mark(entry: Entry, key: bytes) -> str:
    name = b"%d/%s" % (entry.inode, os.fsencode(entry.path.name))
    return hmac.digest(key, name, "sha256").hex()[:16]


def changed_at(folder: Path) -> datetime | None:
    """Return when something last entered or left the landing, or None if there is no landing.

    The time is aware and in UTC.
    """
    with suppress(OSError):
        return datetime.fromtimestamp(folder.stat().st_mtime, UTC)
    return None


def entries(folder: Path) -> list[Entry]:
    """Return the entries of the landing, oldest first.

    Empty folders and empty unfinished files are left out. An empty finished file is included, so
    that it gets removed. Raises LandingError for a landing that cannot be read.
    """
    found = []
    try:
        for path in _paths(folder):
            with suppress(FileNotFoundError):  # Another process has just removed it.
                facts = path.lstat()
                changed = min(facts.st_mtime, facts.st_ctime)
                entry = Entry(changed, path, facts.st_ino, facts.st_size, _obstacle(facts.st_mode))
                empty = (
                    _is_empty(path)
                    if S_ISDIR(facts.st_mode)
                    else entry.unfinished and not facts.st_size
                )
                if not empty:
                    found.append(entry)
    except OSError as error:
        raise LandingError(f"cannot read the landing folder {folder}: {error.strerror}") from None
    return sorted(found)


def _paths(folder: Path) -> Iterable[Path]:
    """Return what is in a folder; nothing if there is no such folder."""
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_empty(folder: Path) -> bool:
    """Return whether a folder is empty.

    The file system's own `lost+found`, which only root may read, counts as empty.
    """
    try:
        return next(folder.iterdir(), None) is None
    except PermissionError:
        return folder.name == "lost+found"


def _obstacle(mode: int) -> str | None:
    if S_ISREG(mode):
        return None
    if S_ISLNK(mode):
        return "is a symbolic link, not a file: what it leads to could not be removed"
    return (
        "is a folder, and is not looked into"
        if S_ISDIR(mode)
        else "is a pipe, a socket or a device, not a file"
    )


def first_few(texts: list[str]) -> str:
    """Return the first few texts on one line, and how many more there are."""
    more = [f"and {len(texts) - MAX_TEXTS} more"] if len(texts) > MAX_TEXTS else []
    return "; ".join([*texts[:MAX_TEXTS], *more])


def prepare_landing(folder: Path) -> None:
    """Make the landing folder, readable only by its owner.

    It holds raw addresses until its files are ingested. Raises LandingError for a folder that
    cannot be made or belongs to somebody else.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise LandingError(
            f"cannot make the landing folder {folder} private to its owner: {error.strerror}"
        ) from None


def drain_landing(database: Database, ingest: Ingest, folder: Path, secret: bytes) -> DrainResult:
    """Ingest every waiting file exactly once, and remove it.

    Several processes can drain at once, because a file that one of them works on is locked. A file
    that a drain does not finish stays, and the next drain continues where this one stopped.

    Raises DatabaseError at once, and LandingError for a folder that cannot be made or read. If
    entries are kept, raises LandingError after all other files are done. This error names the kept
    entries, and carries what was done.
    """
    prepare_landing(folder)
    counts, files, kept = Counts(), 0, list[str]()
    with database.connect() as connection:
        for entry in entries(folder):
            if entry.unfinished:
                continue
            try:
                if entry.obstacle:
                    raise LandingError(entry.obstacle)
                if _took_file(connection, ingest, entry.path, secret, counts):
                    files += 1
            except (LandingError, StreamError) as error:
                kept.append(f"{entry.label} {error}")
            except OSError as error:
                kept.append(f"{entry.label} cannot be read or removed: {error.strerror}")
    if kept:
        raise LandingError(
            f"{files} file(s) are done, {len(kept)} item(s) in the landing cannot be taken:"
            f" {first_few(kept)}",
            DrainResult(files, counts),
        )
    return DrainResult(files, counts)


def _took_file(
    connection: Connection, ingest: Ingest, path: Path, secret: bytes, counts: Counts
) -> bool:
    try:
        if S_IMODE(path.stat().st_mode) != 0o600:
            path.chmod(0o600)
        stream = path.open("rb")
    except FileNotFoundError:  # Another process was faster.
        return False
    with stream:
        check_form(stream)  # Before the whole file is read and recorded as begun.
        digest, size = _content_hmac(stream, secret)
        number = int.from_bytes(digest[:4], "big", signed=True)
        with try_session_lock(connection, LockClass.LANDED_FILE, number) as is_ours:
            # Another process can have finished this file meanwhile, and a new file can have its
            # name.
            if not is_ours or not _still_at(path, stream):
                return False
            offset = _begin_or_resume(connection, digest, size)
            _ingest_rest(connection, ingest, stream, digest, offset, counts)
            if os.fstat(stream.fileno()).st_size != size:
                raise LandingError(
                    "changed its size while it was read: move files in when they are complete"
                )
            if _still_at(path, stream):
                path.unlink()
            sync_folder(path.parent)
    return True


def _still_at(path: Path, stream: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False


def _ingest_rest(
    connection: Connection,
    ingest: Ingest,
    stream: BinaryIO,
    digest: bytes,
    offset: int,
    counts: Counts,
) -> None:
    """Ingest the part of a file that is not stored yet, and record the file as done.

    A file that was done before is read again, because a newer library may be able to read more of
    it. A file is done once everything that could be read of it is stored, even if it is cut short
    and therefore kept. A row without `done_at` would hold up a rotation of the secret. Each drain
    sets `done_at` anew, so that the retention does not forget how much of a kept file is stored.
    """
    start, reached = offset, offset

    def advance(within: Connection, end: int) -> None:
        nonlocal start, reached
        if end != reached:  # Otherwise the transaction of the same batch is tried again.
            start, reached = reached, end
        # The lock is gone if its session was ended, and then another drain can have taken the file.
        advanced = within.execute(query(__package__, "advance_landed_file"), [end, digest, start])
        if advanced.rowcount != 1:
            raise LandingError("was taken by another process too: the next run goes on with it")

    stream.seek(0)
    try:
        ingest.ingest_stream(stream, start=offset, counts=counts, committed=advance)
    except (StreamError, OSError):  # The file is kept, and is tried again.
        connection.execute(query(__package__, "finish_landed_file"), [digest])
        raise
    connection.execute(query(__package__, "finish_landed_file"), [digest])


def _content_hmac(stream: BinaryIO, secret: bytes) -> tuple[bytes, int]:
    key = hmac.digest(secret, b"signal/landed-file", "sha256")
    digest, size = hmac.new(key, digestmod="sha256"), 0
    while block := stream.read(1 << 20):
        digest.update(block)
        size += len(block)
    return digest.digest(), size


def _begin_or_resume(connection: Connection, digest: bytes, size: int) -> int:
    """Record that a file is begun, and return how many of its bytes are stored already."""
    row = connection.execute(query(__package__, "start_landed_file"), [digest, size]).fetchone()
    assert row is not None
    offset, _ = row
    return int(offset)
