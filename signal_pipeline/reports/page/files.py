"""The folder of weekly pages, `SIGNAL_HOME/reports`: only its owner can read it.

It keeps a bounded number of pages.
"""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

from signal_pipeline.system.private_files import write_private

FOLDER = "reports"
KEPT_PAGES = 53  # A year of weeks, and this one.
_NAME = re.compile(r"usage_\d{4}-\d{2}-\d{2}_to_\d{4}-\d{2}-\d{2}\.html")


def page_path(home: Path, first: date, last: date) -> Path:
    """Return where the page of the UTC days `first` to `last`, inclusive, is kept."""
    return home / FOLDER / f"usage_{first}_to_{last}.html"


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
