"""Small pictures and tables for the UI: pure text, no Dagster, no SQL.

Pictures are SVG in an image of Markdown. The UI shows Markdown in place below a thousand characters, else behind a link; so
both are kept below that. Colours are readable on a light and on a dark page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

MOST_CHARACTERS = 999
WIDTH, HEIGHT, TOP, BOTTOM = 252, 114, 16, 98  # Pixels; the UI's column is narrow.
BLUE, GREEN, ORANGE, GREY = "#5b8def", "#3aa76d", "#d9a13b", "#8a8f98"
Series = Mapping[date, Mapping[str, int]]  # By day, the height of each part of its bar.


def bar_chart(series: Series, colours: Mapping[str, str], title: str, last: date, days: int) -> str:
    """One bar for each of the `days` up to `last`, stacked in the order of `colours` (at most three), as a Markdown image."""
    shown = [last - timedelta(days=n) for n in reversed(range(days))]
    parts = list(colours)
    heights = {
        part: [sum(series.get(day, {}).get(below, 0) for below in parts[: place + 1]) for day in shown]
        for place, part in enumerate(parts)
    }
    highest = max(*heights[parts[-1]], 1)
    # The whole stack first, then shorter ones over it: each part is one outline, which takes few characters.
    step = WIDTH // days
    layers = [_layer(heights[part], highest, colours[part], step) for part in reversed(parts)]
    legend = "".join(f" <tspan fill='{colours[part]}'>{part}</tspan>" for part in parts) if len(parts) > 1 else ""
    svg = (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{HEIGHT}'>{''.join(layers)}"
        f"<g fill='{GREY}' style='font:11px sans-serif'><text y='10'>{title}, most {highest:,}{legend}</text>"
        f"<text y='{HEIGHT - 4}'>{shown[0]}</text>"
        f"<text x='{step * days}' y='{HEIGHT - 4}' text-anchor='end'>{last}</text></g></svg>"
    )
    for character, escaped in (("%", "%25"), ("#", "%23"), ("<", "%3C"), (">", "%3E")):
        svg = svg.replace(character, escaped)
    return f"![{title}](<data:image/svg+xml,{svg}>)"


def _layer(heights: Sequence[int], highest: int, colour: str, step: int) -> str:
    steps = "".join(f"V{BOTTOM - round(height / highest * (BOTTOM - TOP))}h{step}" for height in heights)
    return f"<path fill='{colour}' d='M0,{BOTTOM}{steps}V{BOTTOM}'/>"


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table of as many rows as fit; numbers are grouped and to the right."""
    if not rows:
        return "no rows"
    right = [isinstance(value, int) for value in rows[0]]
    table = _line(columns) + "\n" + _line(["---:" if is_number else "---" for is_number in right])
    for row in rows:
        longer = table + "\n" + _line([_cell(value) for value in row])
        if len(longer) > MOST_CHARACTERS:
            break
        table = longer
    return table


def _line(cells: Sequence[str]) -> str:
    return "|" + "|".join(cells) + "|"


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")
