"""The files of a spool by name, `NUMBER-IDENTITY.SUFFIX`, as in `000000000042-9f86….spool`.

The number says in which order the files were written. The identity is 32 random bytes in
hexadecimal, under which PostgreSQL records that the file is stored. A file is a `.tmp` until it is
written and synced, then a `.spool` until it is stored, and a `.refused` if PostgreSQL will never
take it.
"""

from __future__ import annotations

import secrets
from pathlib import Path

_WAITING, _UNFINISHED, _REFUSED = ".spool", ".tmp", ".refused"


def waiting_file(folder: Path, number: int) -> Path:
    """Return a path with a new identity for a file that waits."""
    return folder / f"{number:012d}-{secrets.token_hex(32)}{_WAITING}"


def unfinished_file(path: Path) -> Path:
    """Return the path at which the file is written first."""
    return path.with_suffix(_UNFINISHED)


def refused_file(path: Path) -> Path:
    """Return the path at which the file is set aside."""
    return path.with_suffix(_REFUSED)


def number_of(path: Path) -> int:
    """Return the number of a file. Raises ValueError for a name that is not a spooled file's."""
    return int(path.name.partition("-")[0])


def identity_of(path: Path) -> bytes:
    """Return the identity of a file. Raises ValueError for a name that is not a spooled file's."""
    return bytes.fromhex(path.stem.partition("-")[2])


def waiting_files(folder: Path | None) -> list[Path]:
    """Return the files that wait in a spool, in order; none without a spool.

    The folder is None if no spool is configured. Raises OSError for a folder that cannot be read,
    as the other lists do.
    """
    return _files(folder, _WAITING)


def unfinished_files(folder: Path) -> list[Path]:
    """Return the files that were not written to their end, in order."""
    return _files(folder, _UNFINISHED)


def refused_files(folder: Path | None) -> list[Path]:
    """Return the files that PostgreSQL will never take, in order."""
    return _files(folder, _REFUSED)


def _files(folder: Path | None, suffix: str) -> list[Path]:
    if folder is None or not folder.is_dir():
        return []
    # Not a glob, which finds nothing in a folder that it must not read.
    return sorted(path for path in folder.iterdir() if path.suffix == suffix)
