"""The files of a spool by name, `NUMBER-IDENTITY.SUFFIX`, as in `000000000042-9f86….spool`.

The number says in which order the files were written. The identity is 32 random bytes in
hexadecimal, under which PostgreSQL records that the file is stored. A file is a `.tmp` until it is
written and synced, then a `.spool` until it is stored, and a `.refused` if PostgreSQL will never
take it, or if it is damaged or not ours.
"""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

_WAITING, _UNFINISHED, _REFUSED = ".spool", ".tmp", ".refused"
_WORKER = "worker-"
_NAME = re.compile(r"\d{12,}-[0-9a-f]{64}\.spool")


def worker_folder(folder: Path, number: int) -> Path:
    """Return the folder of a server's worker; the first worker has the spool's folder itself."""
    return folder if number == 1 else folder / f"{_WORKER}{number}"


def spool_folders(folder: Path | None) -> list[Path]:
    """Return the folder of a spool, and those of further workers that are inside it.

    It is an empty list if the folder is None. Raises OSError for a folder that cannot be read.
    """
    if folder is None:
        return []
    workers = (each for each in _entries(folder) if each.name.startswith(_WORKER) and each.is_dir())
    return [folder, *sorted(Path(each) for each in workers)]


def kept_files(folder: Path | None) -> list[Path]:
    """Return every file that waits or is refused, in all folders of a server."""
    return [
        path
        for each in spool_folders(folder)
        for path in (*waiting_files(each), *refused_files(each))
    ]


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


def is_spooled_file(path: Path) -> bool:
    """Return whether a name has the form of a spooled file's."""
    return _NAME.fullmatch(path.name) is not None


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
    """Return the files that are set aside as refused, in order."""
    return _files(folder, _REFUSED)


def _files(folder: Path | None, suffix: str) -> list[Path]:
    if folder is None:
        return []
    found = (each for each in _entries(folder) if each.name.endswith(suffix) and each.is_file())
    return sorted(Path(each) for each in found)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return what is in a folder; nothing if there is no such folder.

    A glob, and from Python 3.14 on `Path.is_dir` too, would silently find nothing where this
    process is not allowed to look.
    """
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
