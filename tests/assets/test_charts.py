"""Pictures and tables that the UI shows in place: valid, and short enough for it."""

from __future__ import annotations

import re
from datetime import date, timedelta
from urllib.parse import unquote
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from signal_pipeline.assets.charts import BOTTOM, TOP, bar_chart, markdown_table

LAST = date(2026, 5, 20)
COLOURS = {"accepted": "#3aa76d", "duplicate": "#5b8def", "dropped": "#d9a13b"}
counts = st.integers(0, 10**9)


def tops(picture: str) -> list[list[int]]:
    """The upper edge of each day's bar, one list per outline, the whole stack first."""
    image = re.fullmatch(r"!\[[^]]*\]\(<data:image/svg\+xml,(.*)>\)", picture)
    assert image
    svg = ElementTree.fromstring(unquote(image[1]))  # noqa: S314 - our own text
    paths = svg.findall("{http://www.w3.org/2000/svg}path")
    return [[int(y) for y in re.findall(r"V(\d+)h", path.attrib["d"])] for path in paths]


@given(st.lists(st.tuples(counts, counts, counts), min_size=21, max_size=21))
def test_a_chart_is_short_valid_and_stacked(rows: list[tuple[int, int, int]]) -> None:
    series = {LAST - timedelta(days=20 - n): dict(zip(COLOURS, parts, strict=True)) for n, parts in enumerate(rows)}
    picture = bar_chart(series, COLOURS, "received", LAST, 21)
    assert len(picture) < 1000
    whole, lower, lowest = tops(picture)
    assert len(whole) == 21
    assert all(TOP <= a <= b <= c <= BOTTOM for a, b, c in zip(whole, lower, lowest, strict=True))
    if any(map(sum, rows)):
        assert min(whole) == TOP


def test_a_day_without_events_has_no_bar() -> None:
    (heights,) = tops(bar_chart({LAST: {"events": 8}}, {"events": "#5b8def"}, "events", LAST, 3))
    assert heights == [BOTTOM, BOTTOM, TOP]


def test_a_table_groups_numbers_and_keeps_its_columns() -> None:
    assert markdown_table(("route", "events"), [("/a|b", 1234567)]) == "|route|events|\n|---|---:|\n|/a\\|b|1,234,567|"
    assert markdown_table(("a",), []) == "no rows"


def test_a_long_table_is_cut_at_a_whole_row() -> None:
    table = markdown_table(("a", "b"), [("x" * 90, n) for n in range(50)])
    assert len(table) < 1000
    assert table.splitlines()[-1].endswith("|")
    assert 8 < len(table.splitlines()) < 14
