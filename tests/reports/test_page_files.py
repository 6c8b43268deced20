"""Usage pages and their CSV as files: who can read them, how many are kept, and no formula."""

from __future__ import annotations

import csv
import io
import stat
from datetime import date, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from signal_pipeline.reports.page.csv_links import csv_text
from signal_pipeline.reports.page.files import KEPT_PAGES, keep_page


def test_pages_are_for_their_owner_and_bounded(tmp_path: Path) -> None:
    monday = date(2025, 1, 6)
    for week in range(KEPT_PAGES + 3):
        first = monday + timedelta(weeks=week)
        path = keep_page(tmp_path, first, first + timedelta(days=6), f"week {week}")
    folder = tmp_path / "reports"
    (folder / "mine.html").write_text("stays")
    assert keep_page(tmp_path, first, first + timedelta(days=6), "again") == path
    assert path.read_text() == "again"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    names = {each.name for each in folder.iterdir()}
    assert len(names) == KEPT_PAGES + 1 and "mine.html" in names
    assert "usage_2025-01-06_to_2025-01-12.html" not in names
    old = keep_page(tmp_path, monday, monday + timedelta(days=6), "asked for")
    assert old.read_text() == "asked for"


@given(st.lists(st.lists(st.text() | st.integers(), min_size=2, max_size=2)))
def test_no_cell_of_a_csv_is_a_formula(rows: list[list[str | int]]) -> None:
    read = list(csv.reader(io.StringIO(csv_text(("a", "b"), rows), newline="")))
    assert len(read) == len(rows) + 1
    for given_row, cells in zip(rows, read[1:], strict=True):
        for value, cell in zip(given_row, cells, strict=True):
            if isinstance(value, int):
                assert int(cell) == value
            else:
                assert cell in (value, f"'{value}")
                assert not cell.lstrip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))
                assert not cell.startswith(("\t", "\r", "\n"))
