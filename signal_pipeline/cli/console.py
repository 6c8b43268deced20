"""Decides how results look on a terminal: lines, tables, progress bars, one line for an error.

Progress goes to stderr. So do tables, unless a table is what was asked for. A pipe therefore gets
only data.

For text that somebody else wrote, commands use `say`, `print_table` or `print_json`. These
functions never take the text as markup, and escape anything in it that a terminal would obey.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from signal_pipeline.errors import SignalError
from signal_pipeline.texts.printable import printable

WIDE = 200  # The width if there is no terminal that sets one.


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream of this process is a terminal. A closed stream is None."""
    return stream is not None and stream.isatty()


def _console(*, stderr: bool) -> Console:
    terminal = is_terminal(sys.stderr if stderr else sys.stdout)
    return Console(
        stderr=stderr, markup=False, emoji=False, highlight=False, width=None if terminal else WIDE
    )


out, err = _console(stderr=False), _console(stderr=True)


def say(text: str = "", *, to: Console = err, bold: bool = False) -> None:
    """Print one line, on stderr unless told otherwise."""
    to.print(printable(text), style="bold" if bold else None, soft_wrap=True)


def complain(text: str) -> None:
    """Print an error as one line on stderr."""
    say(f"error: {text}")


def print_json(value: object) -> None:
    """Print one JSON value on one line of stdout, with unprintable characters escaped."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Collection[int] = (),
    to: Console = err,
    header: bool = True,
) -> None:
    """Print a table, on stderr unless told otherwise.

    Integers get thousands separators. `right` holds the positions of the columns that are aligned
    to the right.
    """
    table = Table(box=None, show_header=header)
    for place, name in enumerate(columns):
        table.add_column(
            printable(name), justify="right" if place in right else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(
            *(f"{value:,}" if isinstance(value, int) else printable(str(value)) for value in row)
        )
    to.print(table)


def standard_input() -> BinaryIO:
    """Return stdin as bytes. Raises SignalError if it was closed before the command began."""
    if sys.stdin is None:
        raise SignalError("there is no standard input: it was closed")
    return sys.stdin.buffer


def _name_column() -> TextColumn:
    return TextColumn("{task.description}", markup=False)


@contextmanager
def open_with_progress(path: Path | None) -> Iterator[tuple[BinaryIO, Callable[[int], None]]]:
    """Yield the stream of a file (stdin for None), and a function that is told of bytes read.

    On a terminal, a file has a progress bar.
    """
    if path is None:
        yield standard_input(), lambda done: None
        return
    columns = (_name_column(), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with (
        path.open("rb") as stream,
        Progress(*columns, console=err, disable=not err.is_terminal) as bar,
    ):
        task = bar.add_task(printable(path.name), total=os.fstat(stream.fileno()).st_size or None)
        yield stream, lambda done: bar.advance(task, done)


@contextmanager
def progress_over_days(total: int, title: str = "days") -> Iterator[Callable[[int], None]]:
    """Yield a function that is told how many days were just done.

    On a terminal, a progress bar shows them.
    """
    columns = (_name_column(), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, disable=not err.is_terminal) as bar:
        task = bar.add_task(printable(title), total=total)
        yield lambda done: bar.advance(task, done)
