"""CSV as a link that holds its own data, so that a download makes no request.

Spreadsheets run a cell that begins like a formula. An apostrophe in front of such a text makes
spreadsheets show it as text.
"""

from __future__ import annotations

import csv
import io
from base64 import b64encode
from collections.abc import Iterable, Sequence

# Full-width forms count too: spreadsheets in some languages read them as the plain ones.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_BOM = "\ufeff"  # Without it, spreadsheets take UTF-8 for a code page of the machine.


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return CSV in which every text is quoted, numbers are plain, and None is an empty cell."""
    target = io.StringIO(newline="")
    writer = csv.writer(target, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return target.getvalue()


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, int | float):
        return value
    text = str(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) or text.startswith(_FORMULA) else text


def csv_link(text: str) -> str:
    """Return the address of a link that downloads the text."""
    return "data:text/csv;charset=utf-8;base64," + b64encode((_BOM + text).encode()).decode()
