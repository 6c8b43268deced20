"""Small pictures and tables for the UI: pure text, no Dagster, no SQL.

Pictures are SVG in an image of Markdown, which the UI renders. Colours are readable on a light and on a dark page.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import date

WIDTH, HEIGHT, TOP, BOTTOM = 560, 120, 16, 14
BLUE, GREEN, ORANGE, RED, GREY = "#5b8def", "#3aa76d", "#d9a13b", "#d05c5c", "#8a8f98"
Series = Mapping[date, Mapping[str, int]]  # By day, the height of each part of its bar.


def bar_chart(series: Series, colours: Mapping[str, str], title: str) -> str:
    """One bar per day, stacked in the order of `colours`, as a Markdown image."""
    days = sorted(series)
    if not days:
        return "no days yet"
    span = (days[-1] - days[0]).days + 1
    highest = max(sum(series[day].get(part, 0) for part in colours) for day in days) or 1
    step = WIDTH / span
    bars = []
    for day in days:
        x, y = (day - days[0]).days * step, float(HEIGHT - BOTTOM)
        for part, colour in colours.items():
            height = series[day].get(part, 0) / highest * (HEIGHT - TOP - BOTTOM)
            y -= height
            if height:
                bars.append(
                    f'<rect x="{x:.1f}" y="{y:.1f}" width="{step * 0.8:.1f}" height="{height:.1f}" fill="{colour}"/>'
                )
    labels = [
        _label(0, 10, "start", f"{title}, highest {highest:,}"),
        _label(0, HEIGHT - 2, "start", str(days[0])),
        _label(WIDTH, HEIGHT - 2, "end", str(days[-1])),
    ]
    for place, (part, colour) in enumerate(reversed([*colours.items()]) if len(colours) > 1 else []):
        labels.append(_label(WIDTH - 75 * place, 10, "end", part, colour))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}"'
        f' font-family="sans-serif" font-size="11">{"".join(labels)}{"".join(bars)}</svg>'
    )
    return f"![{title}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


def _label(x: float, y: float, anchor: str, text: str, colour: str = GREY) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{colour}">{text}</text>'


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; numbers are grouped and to the right."""
    if not rows:
        return "no rows"
    right = [isinstance(value, int) for value in rows[0]]
    lines = [
        "| " + " | ".join(columns) + " |",
        "| " + " | ".join("---:" if is_number else "---" for is_number in right) + " |",
    ]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")
