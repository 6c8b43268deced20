"""Small pictures and tables for the UI: pure text, no Dagster, no SQL.

A picture is a Markdown image that holds an SVG. The UI shows Markdown in place only if it has fewer
than a thousand characters, and otherwise behind a link, so pictures and tables are kept that short.
The colours are readable on a light and on a dark page. Any text in a picture or table is shown as
text: it is never Markdown, HTML or a link.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta
from xml.sax.saxutils import escape

from signal_pipeline.texts.printable import printable

MOST_CHARACTERS = 999
WIDTH, HEIGHT, TOP, BOTTOM = 252, 114, 16, 98  # Pixels; the UI's column is narrow.
BLUE, GREEN, ORANGE, GREY, PALE_GREY = "#5b8def", "#3aa76d", "#d9a13b", "#8a8f98", "#8a8f9840"
Series = Mapping[date, Mapping[str, int]]  # By day, the height of each part of its bar.
# Words and numbers that mean nothing to Markdown: no leading or double underscore, no host name.
_PLAIN = re.compile(
    r"(?:[A-Za-z0-9 ,:;%()+-]|(?<=[A-Za-z0-9])_(?=[A-Za-z0-9])|(?<=[0-9])\.(?=[0-9]))*"
)
_BAR = re.compile(r"(\\*)\|")
_PUNCTUATION, _BACKSLASHED = re.compile(r"[!-/:-@\[-`{-~]"), r"\\\g<0>"


def bar_chart(
    series: Series,
    colours: Mapping[str, str],
    title: str,
    last: date,
    days: int,
    unknown: Collection[date] = (),
) -> str:
    """Return a Markdown image with one bar for each of the `days` up to `last`.

    The parts of a bar are stacked in the order of `colours`, the first at the bottom. There are at
    most three parts, because the image must stay short. A day without a bar had no event, or less
    than a hundredth of the highest day. An unknown day is grey from top to bottom.
    """
    shown = [last - timedelta(days=n) for n in reversed(range(days))]
    parts = list(colours)
    heights = {
        part: [
            sum(series.get(day, {}).get(below, 0) for below in parts[: place + 1]) for day in shown
        ]
        for place, part in enumerate(parts)
    }
    highest = max(*heights[parts[-1]], 1)
    # The whole stack is drawn first, and shorter stacks are drawn over it. So each part is one
    # outline, which takes few characters.
    step = WIDTH // days
    layers = [_layer(heights[part], highest, colours[part], step) for part in reversed(parts)]
    legend = (
        "".join(f" <tspan fill='{colours[part]}'>{_xml(part)}</tspan>" for part in parts)
        if len(parts) > 1
        else ""
    )
    if any(day in unknown for day in shown):
        layers.append(_layer([int(day in unknown) for day in shown], 1, PALE_GREY, step))
        legend += ", grey: unknown"
    svg = (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}'"
        f" height='{HEIGHT}'>{''.join(layers)}<g fill='{GREY}' style='font:11px sans-serif'><text"
        f" y='10'>{_xml(title)}, most {highest:,}{legend}</text><text"
        f" y='{HEIGHT - 4}'>{shown[0]}</text><text x='{step * days}' y='{HEIGHT - 4}'"
        f" text-anchor='end'>{last}</text></g></svg>"
    )
    for character in "%#<>&\\`":
        svg = svg.replace(character, f"%{ord(character):02X}")
    return f"![{_PUNCTUATION.sub(_BACKSLASHED, printable(title))}](<data:image/svg+xml,{svg}>)"


def _xml(text: str) -> str:
    return escape(printable(text))


def _layer(heights: Sequence[int], highest: int, colour: str, step: int) -> str:
    steps = "".join(
        f"V{BOTTOM - round(height / highest * (BOTTOM - TOP))}h{step}" for height in heights
    )
    return f"<path fill='{colour}' d='M0,{BOTTOM}{steps}V{BOTTOM}'/>"


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[object]], note: str = "") -> str:
    """Return a Markdown table of as many rows as fit, with a note below it.

    Below the table come the number of rows that did not fit, if any, and `note`. The note is plain
    text of ours, so it is not quoted. Numbers have thousands separators and are aligned to the
    right.
    """
    if not rows:
        return _with_note("no rows", note)
    right = [isinstance(value, int) for value in rows[0]]
    head = [
        _line([_cell(name) for name in columns]),
        _line(["---:" if is_number else "---" for is_number in right]),
    ]
    lines = [_line([_cell(value) for value in row]) for row in rows[:MOST_CHARACTERS]]
    for shown in range(len(lines), -1, -1):
        left = len(rows) - shown
        missing = f"{left:,} more row(s) do not fit here." if left else ""
        table = "\n".join([*head, *lines[:shown]])
        noted = _with_note(table, " ".join(filter(None, (missing, note))))
        if len(noted) <= MOST_CHARACTERS:
            break
    return noted


def _with_note(text: str, note: str) -> str:
    return f"{text}\n\n{note}" if note else text


def _line(cells: Sequence[str]) -> str:
    return "|" + "|".join(cells) + "|"


def _cell(value: object) -> str:
    """Return a value as text.

    Anything that could mean something to Markdown is quoted as code, where nothing is interpreted,
    not even links.
    """
    if isinstance(value, int):
        return f"{value:,}"
    text = printable(str(value))
    if _PLAIN.fullmatch(text):
        return text
    # A bar ends a cell even inside code, unless an odd number of backslashes precedes it.
    return _quote(_BAR.sub(lambda bar: bar[1] * 2 + "\\|", text))


def _quote(text: str) -> str:
    fence = _fence(text, 1)
    blank = " " if text.startswith(("`", " ")) or text.endswith(("`", " ")) else ""
    return f"{fence}{blank}{text}{blank}{fence}"


def code_block(language: str, text: str) -> str:
    """Return a text as a block of code that nothing in the text can end."""
    fence = _fence(text, 3)
    return f"{fence}{language}\n{text}\n{fence}"


def _fence(text: str, least: int) -> str:
    longest = max(map(len, re.findall("`+", text)), default=0)
    return "`" * max(longest + 1, least)
