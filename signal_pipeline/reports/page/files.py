"""The folder of weekly pages, `SIGNAL_HOME/reports`: only its owner can read it.

It keeps a bounded number of pages.
"""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import suppress
from datetime import date
from pathlib import Path

FOLDER = "reports"
KEPT_PAGES = 53  # A year of weeks, and this one.
_NAME = re.compile(r"usage_\d{4}-\d{2}-\d{2}_to_\d{4}-\d{2}-\d{2}\.html")


def page_path(home: Path, first: date, last: date) -> Path:
    """Return where the page of the UTC days `first` to `last`, inclusive, is kept."""
    return home / FOLDER / f"usage_{first}_to_{last}.html"


def write_private(path: Path, html: str) -> None:
    """Write or replace a page, readable by its owner only, whole or not at all; raises OSError."""
    # The draft is made with mode 0600.
    handle, draft = tempfile.mkstemp(prefix=".draft-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(html)
        Path(draft).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(draft).unlink()
        raise


def keep_page(home: Path, first: date, last: date, html: str) -> Path:
    """Write a page into the folder of pages, and remove the oldest beyond KEPT_PAGES.

    Raises OSError.
    """
    path = page_path(home, first, last)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    write_private(path, html)
    pages = sorted(each for each in path.parent.iterdir() if _NAME.fullmatch(each.name))
    for old in pages[:-KEPT_PAGES]:
        if old != path:  # Somebody asked for an old week just now.
            old.unlink(missing_ok=True)
    return path
