"""Pictures and tables that the UI shows in place: valid, and short enough for it."""

from __future__ import annotations

import re
from datetime import date, timedelta
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from signal_pipeline.dagster.assets.charts import BOTTOM, TOP, bar_chart, code_block, markdown_table
from signal_pipeline.texts.printable import printable

LAST = date(2026, 5, 20)
COLOURS = {"accepted": "#3aa76d", "duplicate": "#5b8def", "dropped": "#d9a13b"}
counts = st.integers(0, 10**9)
words = st.text(st.sampled_from(list("ab1 .:/_-|\\`*<>[]()!&;'\"#%~@\n\u202e")), max_size=30)
MARKDOWN = MarkdownIt("commonmark").enable("table")
MARKDOWN.validateLink = lambda url: True  # type: ignore[method-assign] - it knows of no SVG


def inline(text: str) -> list[Token]:
    """The elements that Markdown sees in a line of text."""
    (token,) = MARKDOWN.parseInline(text)
    return token.children or []


def tops(picture: str) -> list[list[int]]:
    """The upper edge of each day's bar, one list per outline, the whole stack first."""
    image = re.fullmatch(r"!\[[^]]*\]\(<data:image/svg\+xml,(.*)>\)", picture)
    assert image
    svg = ElementTree.fromstring(unquote(image[1]))
    paths = svg.findall("{http://www.w3.org/2000/svg}path")
    return [[int(y) for y in re.findall(r"V(\d+)h", path.attrib["d"])] for path in paths]


@given(st.lists(st.tuples(counts, counts, counts), min_size=21, max_size=21))
def test_a_chart_is_short_valid_and_stacked(rows: list[tuple[int, int, int]]) -> None:
    series = {
        LAST - timedelta(days=20 - n): dict(zip(COLOURS, parts, strict=True))
        for n, parts in enumerate(rows)
    }
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


def test_an_unknown_day_is_not_drawn_as_a_day_without_events() -> None:
    unknown = [LAST - timedelta(days=1), LAST - timedelta(days=5)]
    picture = bar_chart({LAST: {"events": 8}}, {"events": "#5b8def"}, "events", LAST, 3, unknown)
    assert tops(picture) == [[BOTTOM, BOTTOM, TOP], [BOTTOM, TOP, BOTTOM]]
    assert "grey: unknown" in unquote(picture)
    assert "unknown" not in bar_chart(
        {LAST: {"events": 8}}, {"events": "#5b8def"}, "events", LAST, 3, unknown[1:]
    )


@given(st.sets(st.integers(0, 29)), counts)
def test_a_chart_with_unknown_days_is_short(unknown: set[int], events: int) -> None:
    series = {LAST - timedelta(days=n): {"events": events} for n in range(30) if n not in unknown}
    picture = bar_chart(
        series,
        {"events": "#5b8def"},
        "events per day",
        LAST,
        30,
        {LAST - timedelta(days=n) for n in unknown},
    )
    assert len(picture) < 1000


@given(words, words)
def test_a_text_in_a_chart_is_text(title: str, part: str) -> None:
    colours = {part: "#5b8def", f"{part}2": "#3aa76d"}
    picture = bar_chart({LAST: {part: 8}}, colours, title, LAST, 3)
    (image,) = inline(picture)
    assert image.type == "image"
    assert (
        "".join(child.content for child in image.children or []).strip() == printable(title).strip()
    )
    svg = ElementTree.fromstring(
        unquote(str(image.attrs["src"]).removeprefix("data:image/svg+xml,"))
    )
    shown = "".join(svg.itertext())
    assert shown.startswith(f"{printable(title)}, most 8 {printable(part)} {printable(part)}2")
    assert {element.tag.rpartition("}")[2] for element in svg.iter()} == {
        "svg",
        "g",
        "path",
        "text",
        "tspan",
    }


def test_a_table_groups_numbers_and_keeps_its_columns() -> None:
    assert (
        markdown_table(("route", "events"), [("/a|b", 1234567)])
        == "|route|events|\n|---|---:|\n|`/a\\|b`|1,234,567|"
    )
    assert markdown_table(("a",), []) == "no rows"


@given(words, words)
@example("/a\\|b", "`")
@example("[a](https://example.org)", "<img src=x onerror=alert(1)>")
@example("www.example.org", "__init__")
@example("https://example.org", "a@example.org")
@example("**bold** ~~gone~~ &lt; ![a](b)", "| a |\n| b |")
def test_a_text_in_a_table_is_text(route: str, name: str) -> None:
    tokens = MARKDOWN.parse(markdown_table((route, name), [(route, name)]))
    cells = [token.children or [] for token in tokens if token.type == "inline"]
    assert len(cells) == 4
    for text, cell in zip((route, name) * 2, cells, strict=True):
        shown = printable(text)
        # Only backslashes before a bar are doubled: a bar after an even number of them ends a cell.
        expected = re.sub(r"(\\+)\|", r"\1\1|", shown).strip()
        assert "".join(child.content for child in cell).strip() == expected
        assert [child.type for child in cell] in (["code_inline"], ["text"], [])
        if re.search(r"[/@]|www", shown):  # Some flavours of Markdown make links of these.
            assert cell[0].type == "code_inline"


@given(words)
def test_a_text_cannot_end_a_block_of_code(text: str) -> None:
    tokens = MARKDOWN.parse(code_block("sql", text))
    assert [token.type for token in tokens] == ["fence"]


@pytest.mark.parametrize("note", ["", "3 row(s) are left out."])
def test_a_long_table_is_cut_at_a_whole_row_and_says_how_many_rows_are_missing(note: str) -> None:
    table = markdown_table(("a", "b"), [("x" * 90, n) for n in range(50)], note)
    assert len(table) < 1000
    rows, _, below = table.partition("\n\n")
    assert rows.splitlines()[-1].endswith("|")
    assert 8 < len(rows.splitlines()) < 14
    missing = 50 - (len(rows.splitlines()) - 2)
    assert below == f"{missing} more row(s) do not fit here. {note}".strip()


def test_a_note_stands_under_a_table_of_any_length() -> None:
    assert markdown_table(("a",), [], "note") == "no rows\n\nnote"
    assert markdown_table(("a",), [("b",)], "note") == "|a|\n|---|\n|b|\n\nnote"
