"""Files that only their owner can read, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Write or replace a file, readable by its owner only, whole or not at all; raises OSError."""
    with _draft(path, text) as draft:
        draft.replace(path)


def write_new_private(path: Path, text: str) -> None:
    """Write a file as `write_private` does, but replace none; raises FileExistsError, OSError."""
    with _draft(path, text) as draft:
        os.link(draft, path)  # Unlike a rename, this fails if the file exists.


@contextmanager
def _draft(path: Path, text: str) -> Iterator[Path]:
    """Yield a file on disk with the text, in the folder of `path`. It is gone afterwards.

    A process that is killed leaves the file behind, so its name says what it is a draft of.
    """
    # `mkstemp` makes the file with mode 0600.
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.draft-", dir=path.parent)
    draft = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        with suppress(OSError):
            draft.unlink()
