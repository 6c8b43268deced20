"""The landing folder: files of a trusted replay wait here, are ingested exactly once, then removed.

A file is known by a keyed digest of its content, never by its name. How far it is ingested is
written in the same transaction as its events, so that a crash between two batches, or before the
removal, changes nothing. What is no NDJSON, or cannot be read to its end, is kept under its name,
and named until somebody sees to it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from stat import S_IMODE, S_ISDIR, S_ISLNK, S_ISREG
from typing import BinaryIO, NamedTuple, cast

from signal_pipeline.errors import SignalError
from signal_pipeline.ingest.ndjson import StreamError, check_form
from signal_pipeline.ingest.pipeline import Counts, CutShortError, Ingest
from signal_pipeline.postgres.database import Connection, Database, safe_errors
from signal_pipeline.postgres.query import query

LANDING_LOCK = 7_291_002
NAMED = 10
NAME_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Drained:
    """What a drain of the landing did."""

    files: int
    counts: Counts


class LandingError(SignalError):
    """Something in the landing cannot be read, taken or removed, or a file changed while it was
    being read.

    `drained` is what the drain did all the same; None if no drain raised this.
    """

    def __init__(self, message: str, drained: Drained | None = None) -> None:
        super().__init__(message)
        self.drained = drained


class Entry(NamedTuple):
    """Something in the landing. `changed` is in seconds since 1970; `obstacle` is why it can never
    be taken, if so.
    """

    changed: float
    path: Path
    inode: int
    size: int
    obstacle: str | None

    @property
    def unfinished(self) -> bool:
        """Whether its name says that a writer is not done with it."""
        return self.path.name.startswith(".") or self.path.name.lower().endswith(".tmp")


def landed_files(folder: Path) -> list[Path]:
    """What waits in the landing, oldest first: all that is in it, of whatever name, but what is not
    finished.

    A writer moves a finished file in; a hidden one, or one whose name ends in `.tmp`, is not
    finished. Empty folders hold nothing that could wait. Raises LandingError for a folder that
    cannot be read.
    """
    return [entry.path for entry in entries(folder) if not entry.unfinished]


def marks_of_landed(folder: Path) -> set[str]:
    """A mark of each thing that waits, by its name and inode: what is appended to or gets other
    rights keeps its mark.

    A digest, since marks are remembered and a name may tell of a person.
    """
    return {_mark(entry) for entry in entries(folder) if not entry.unfinished}


def _mark(entry: Entry) -> str:
    return hashlib.sha256(b"%d/%s" % (entry.inode, os.fsencode(entry.path.name))).hexdigest()[:16]


def changed_at(folder: Path) -> datetime | None:
    """When something last came into the landing or left it, aware and UTC; None without a
    landing.
    """
    with suppress(OSError):
        return datetime.fromtimestamp(folder.stat().st_mtime, UTC)
    return None


def shown(path: Path) -> str:
    """The name of a file, quoted, for people: on one line whatever is in it, and not too long."""
    text = repr(path.name)
    return text if len(text) <= NAME_CHARACTERS else f"{text[:NAME_CHARACTERS]}..."


def entries(folder: Path) -> list[Entry]:
    """All that is in the landing and holds something, oldest first; a finished file that is empty
    too, to be removed.
    """
    found = []
    try:
        for path in folder.iterdir() if folder.is_dir() else ():
            with suppress(FileNotFoundError):  # Another process has finished it just now.
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


def _is_empty(folder: Path) -> bool:
    """Whether nothing is in a folder, or it is the file system's own, into which only root may
    look.
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
        else "is no file that could hold events"
    )


def listed(texts: list[str]) -> str:
    """The first of them in one line, and how many more there are."""
    more = [f"and {len(texts) - NAMED} more"] if len(texts) > NAMED else []
    return "; ".join([*texts[:NAMED], *more])


def prepare_landing(folder: Path) -> None:
    """Make the landing folder, readable by its owner only: it holds raw addresses until they are
    consumed.

    Raises LandingError for a folder that cannot be made or is somebody else's.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise LandingError(
            f"cannot make the landing folder {folder} its owner's only: {error.strerror}"
        ) from None


def drain_landing(database: Database, ingest: Ingest, folder: Path, secret: bytes) -> Drained:
    """Ingest every file that waits, each exactly once, and remove it.

    Several processes may drain at once: a file is held by one of them. Raises DatabaseError at
    once, and LandingError after the other files are done, which names what is kept and carries what
    was done; files not finished stay, and go on where they stopped.
    """
    prepare_landing(folder)
    counts, files, kept = Counts(), 0, list[str]()
    with safe_errors(), database.connect() as connection:
        for entry in entries(folder):
            if entry.unfinished:
                continue
            try:
                if entry.obstacle:
                    raise LandingError(entry.obstacle)
                if _ingest_file(connection, ingest, entry.path, secret, counts):
                    files += 1
            except (LandingError, StreamError) as error:
                kept.append(f"{shown(entry.path)} {error}")
            except OSError as error:
                kept.append(f"{shown(entry.path)} cannot be read or removed: {error.strerror}")
    if kept:
        raise LandingError(
            f"{len(kept)} item(s) in the landing cannot be taken, {files} file(s) are done:"
            f" {listed(kept)}",
            Drained(files, counts),
        )
    return Drained(files, counts)


def _ingest_file(
    connection: Connection, ingest: Ingest, path: Path, secret: bytes, counts: Counts
) -> bool:
    try:
        if S_IMODE(path.stat().st_mode) != 0o600:
            path.chmod(0o600)
        stream = path.open("rb")
    except FileNotFoundError:  # Another process was faster.
        return False
    with stream:
        check_form(stream)  # Before the whole file is read, and noted as begun.
        digest, size = _content_hmac(stream, secret)
        with _held(connection, digest) as held:
            # Another process may have finished this file meanwhile, and a new one may have its
            # name.
            if not held or not _still_at(path, stream):
                return False
            _ingest_rest(
                connection, ingest, stream, digest, _started(connection, digest, size), counts
            )
            if os.fstat(stream.fileno()).st_size != size:
                raise LandingError("grew while it was read: move files in when they are complete")
            if _still_at(path, stream):
                path.unlink()
            _sync_folder(path.parent)
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
    """Ingest what is not stored yet, of a file that was done before too: more of it may be readable
    now.

    A file is done once all is stored that could be read of it, though one that is cut short is
    kept: a row that stayed open after such a file is deleted would hold up a rotation of the
    secret. Each drain sets the time anew, so that the retention does not forget how far a kept file
    is stored.
    """

    def advance(within: Connection, end: int) -> None:
        within.execute(query(__package__, "advance_landed_file"), [end, digest])

    stream.seek(0)
    try:
        counts.merge(ingest.ingest_stream(stream, start=offset, committed=advance))
    except CutShortError as error:
        counts.merge(error.counts)
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


def _started(connection: Connection, digest: bytes, size: int) -> int:
    row = connection.execute(query(__package__, "start_landed_file"), [digest, size]).fetchone()
    assert row is not None
    return cast(int, row[0])


@contextmanager
def _held(connection: Connection, digest: bytes) -> Iterator[bool]:
    key = [LANDING_LOCK, int.from_bytes(digest[:4], "big", signed=True)]
    row = connection.execute("select pg_try_advisory_lock(%s, %s)", key).fetchone()
    held = row == (True,)
    try:
        yield held
    finally:
        if held and not connection.closed:
            connection.execute("select pg_advisory_unlock(%s, %s)", key)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
