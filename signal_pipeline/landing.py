"""The landing folder: files of a trusted replay wait here, are ingested exactly once, then removed.

A file is known by a keyed digest of its content, never by its name. How far it is ingested is written in the same
transaction as its events, so that a crash between two batches, or before the removal, changes nothing.
"""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO, cast

from signal_pipeline.errors import SignalError
from signal_pipeline.ingest import Counts, Ingest
from signal_pipeline.settings import Settings
from signal_pipeline.store.database import Connection, Database, safe_errors, sql
from signal_pipeline.store.probes import Finding

LANDING_LOCK = 7_291_002


class LandingError(SignalError):
    """The landing or a file in it cannot be read or removed, or a file changed while it was being read."""


@dataclass(frozen=True, slots=True)
class Drained:
    """What a drain of the landing did."""

    files: int
    counts: Counts


def landed_files(folder: Path) -> list[Path]:
    """The files that wait, oldest first. A writer moves a finished file in; `.tmp` and hidden ones are not finished."""
    return [path for _, path in _landed(folder)]


def landed_longer_than(folder: Path, seconds: float) -> int:
    """How many files have waited longer."""
    return sum(time.time() - changed / 1e9 > seconds for changed, _ in _landed(folder))


def landing_moves(settings: Settings) -> Finding:
    """No landed file waits longer than a day: it holds raw addresses meanwhile."""
    old = landed_longer_than(settings.landing_path, timedelta(days=1).total_seconds())
    if not old:
        return Finding(True, "No landed file is older than a day.")
    return Finding(
        False,
        f"{old} landed file(s) wait for more than a day, with raw addresses in them. Is landing_sensor on?"
        " Look for failed runs of raw_events_job.",
        {"files": old},
    )


def _landed(folder: Path) -> list[tuple[int, Path]]:
    """The files that wait, with the time of their last change in nanoseconds."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.suffix == ".ndjson" and not path.name.startswith("."):
            with suppress(FileNotFoundError):  # Another process has finished it just now.
                facts = path.stat()
                if S_ISREG(facts.st_mode):
                    found.append((facts.st_mtime_ns, path))
    return sorted(found)


def prepare_landing(folder: Path) -> None:
    """Make the landing folder, readable by its owner only: it holds raw addresses until they are consumed.

    Raises LandingError for a folder that cannot be made or is somebody else's.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise LandingError(f"cannot make the landing folder {folder} its owner's only: {error.strerror}") from None


def drain_landing(database: Database, ingest: Ingest, folder: Path, secret: bytes) -> Drained:
    """Ingest every file that waits, each exactly once, and remove it.

    Several processes may drain at once: a file is held by one of them. Raises DatabaseError at once, and LandingError after
    the other files are done; files not finished stay, and go on where they stopped.
    """
    prepare_landing(folder)
    counts, files, failures = Counts(), 0, list[LandingError]()
    with safe_errors(), database.connect() as connection:
        for path in landed_files(folder):
            try:
                if _ingest_file(connection, ingest, path, secret, counts):
                    files += 1
            except LandingError as error:
                failures.append(error)
            except OSError as error:
                failures.append(LandingError(f"cannot read or remove a landed file: {error.strerror}"))
    if failures:
        raise LandingError(f"{len(failures)} landed file(s) failed, {files} done; the first: {failures[0]}")
    return Drained(files, counts)


def _ingest_file(connection: Connection, ingest: Ingest, path: Path, secret: bytes, counts: Counts) -> bool:
    try:
        path.chmod(0o600)
        stream = path.open("rb")
    except FileNotFoundError:  # Another process was faster.
        return False
    with stream:
        digest, size = _content_hmac(stream, secret)
        with _held(connection, digest) as held:
            # Another process may have finished this file meanwhile, and a new one may have its name.
            if not held or not _still_at(path, stream):
                return False
            offset, done_at = _started(connection, digest, size)
            if done_at is None:
                _ingest_rest(ingest, stream, digest, offset, counts)
                if os.fstat(stream.fileno()).st_size != size:
                    raise LandingError("a landed file grew while it was read: move files in when they are complete")
                connection.execute(sql("finish_landed_file"), [digest])
            if _still_at(path, stream):
                path.unlink()
            _sync_folder(path.parent)
    return True


def _still_at(path: Path, stream: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False


def _ingest_rest(ingest: Ingest, stream: BinaryIO, digest: bytes, offset: int, counts: Counts) -> None:
    def advance(connection: Connection, end: int) -> None:
        connection.execute(sql("advance_landed_file"), [offset + end, digest])

    stream.seek(offset)
    counts.merge(ingest.ingest_stream(stream, committed=advance))


def _content_hmac(stream: BinaryIO, secret: bytes) -> tuple[bytes, int]:
    key = hmac.digest(secret, b"signal/landed-file", "sha256")
    digest, size = hmac.new(key, digestmod="sha256"), 0
    while block := stream.read(1 << 20):
        digest.update(block)
        size += len(block)
    return digest.digest(), size


def _started(connection: Connection, digest: bytes, size: int) -> tuple[int, datetime | None]:
    row = connection.execute(sql("start_landed_file"), [digest, size]).fetchone()
    assert row is not None
    return cast(int, row[0]), cast("datetime | None", row[1])


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
