"""What the processes of a test write, kept for the report of its failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

open_logs: list[Path] = []


@contextmanager
def logged(path: Path) -> Iterator[BinaryIO]:
    """A file for what processes write.

    Its end is shown with the failure of a test: as a note if the test holds the file open, else as
    a section of the report (conftest.py).
    """
    with path.open("wb") as log:
        open_logs.append(path)
        try:
            yield log
        except BaseException as failure:
            failure.add_note(f"The end of {path.name}:\n{end_of(path)}")
            raise
        finally:
            open_logs.remove(path)


def end_of(path: Path) -> str:
    """The end of a file, whatever bytes it has."""
    return path.read_bytes()[-5_000:].decode(errors="replace")
