"""The folder of the embedded server's socket, which only the server's own user may enter.

The server asks nobody for a password, so whoever reaches the socket is a superuser. Whoever can
write into its folder could put a server of their own in its place.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# macOS takes 103 bytes for the path of a socket, and Linux 107.
_MAX_BYTES = 103
_SHORT = Path("/tmp")  # noqa: S108 (`_private_folders` takes only folders of the right owner)


def socket_folder(data: Path, owner: int) -> Path:
    """Return the folder for the socket of the server on this data, which is of the user `owner`.

    This is the data folder. If its path is too long for a socket, or has a comma, which separates
    hosts in a URL, it is a folder below `/tmp`, made if there is none. Raises OSError.
    """
    if len(os.fsencode(data / ".s.PGSQL.5432")) <= _MAX_BYTES and "," not in str(data):
        return data
    for folder in _private_folders(data, owner):
        return folder
    # A name that nobody can guess: another user could otherwise make the folder first.
    made = Path(tempfile.mkdtemp(prefix=_prefix(data), dir=_SHORT))
    os.chown(made, owner, -1)
    return made


def remove_socket_folder(data: Path, owner: int) -> None:
    """Remove the folder that `socket_folder` made for the server on this data, which has ended."""
    for folder in _private_folders(data, owner):
        with suppress(OSError):
            folder.rmdir()


def _prefix(data: Path) -> str:
    return f"signal-{hashlib.sha256(os.fsencode(data)).hexdigest()[:16]}-"


def _private_folders(data: Path, owner: int) -> Iterator[Path]:
    for folder in sorted(_SHORT.glob(f"{_prefix(data)}*")):
        with suppress(FileNotFoundError):
            found = folder.lstat()
            closed = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
            if closed and found.st_uid == owner:
                yield folder
