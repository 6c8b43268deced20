"""The charts of a page as Vega-Lite specifications: plain dictionaries, drawn by `drawing.py`.

Pure. Colours are variables of the page's style sheet, so that one drawing serves a light screen, a
dark one and paper. Text goes in as data and never as an expression.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import groupby
from typing import Any

from signal_pipeline.reports.page.numbers import THIN_SPACE, number
from signal_pipeline.reports.page.split import LEFT_OUT, PARTIAL, UNKNOWN, DayFigure

Spec = dict[str, Any]
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
WIDE, NARROW = (560, 300), (170, 110)  # Pixels of the longest bar and of the names beside it.
BAR_STEP = 26
TREND_WIDTH, TREND_HEIGHT = 940, 190
# Room for a reader's font that is wider than the one that the drawing was measured with.
SLACK = {"left": 24, "right": 72, "top": 4, "bottom": 4}
MOST_POINTS = 62  # With more days, points are small, because large ones would touch each other.
MOST_DATES = 120  # With more days, the axis names months and years instead of days.
_NUMBERS = f"replace(format(datum.value, ','), /,/g, '{THIN_SPACE}')"
CONFIG = {
    "font": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--muted)",
        "labelFontSize": 12,
        "titleColor": "var(--muted)",
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "gridColor": "var(--grid)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
    },
}


def bars(rows: Sequence[tuple[str, int, str]], unit: str, size: tuple[int, int] = WIDE) -> Spec:
    """Return horizontal bars in the order given: each a name, its length, and the text beside it.

    `unit` says what is counted.
    """
    width, names_width = size
    values = [
        {"place": place, "count": count, "text": text, "title": f"{name}: {text}"}
        for place, (name, count, text) in enumerate(rows)
    ]
    names = [name for name, _, _ in rows]
    y = {
        "field": "place",
        "type": "ordinal",
        "sort": None,
        "axis": {
            "title": None,
            "domain": False,
            "ticks": False,
            "labelLimit": names_width,
            "labelPadding": 8,
            "labelColor": "var(--ink)",
            "labelExpr": "names[datum.value]",
        },
    }
    x = {
        "field": "count",
        "type": "quantitative",
        "axis": {
            "title": unit,
            "tickCount": 4 if size == WIDE else 2,
            "labelExpr": _NUMBERS,
            "domain": False,
            "tickMinStep": 1,
        },
    }
    text = {"type": "text", "align": "left", "dx": 6, "fontSize": 12, "color": "var(--ink)"}
    return {
        "$schema": SCHEMA,
        "background": None,
        "padding": SLACK,
        "width": width,
        "height": {"step": BAR_STEP},
        # Bars have places, not names, so that two names that look alike stay two bars.
        "params": [{"name": "names", "value": names}],
        "data": {"values": values},
        "encoding": {"y": y, "x": x},
        "layer": [
            {
                "mark": {"type": "bar", "color": "var(--bar)", "height": {"band": 0.68}},
                "encoding": {"description": {"field": "title"}},
            },
            {"mark": {**text, "aria": False}, "encoding": {"text": {"field": "text"}}},
        ],
        "config": CONFIG,
    }


def trend(figures: Sequence[DayFigure]) -> Spec:
    """Return people a day as a line that breaks where no number is known or shown.

    Such days are shaded; a day that is not over has a hollow point.
    """
    values = [_day(figure) for figure in figures]
    x = {
        "field": "day",
        "type": "temporal",
        "timeUnit": "utcyearmonthdate",
        "scale": {"type": "utc"},
        "axis": {
            "title": None,
            "grid": False,
            "format": "%-d %b" if len(values) <= MOST_DATES else "%b %Y",
            "labelOverlap": True,
            "labelSeparation": 16,
            "tickCount": min(len(values), 10),
        },
    }
    y = {
        "field": "people",
        "type": "quantitative",
        "scale": {"zero": True, "nice": True},
        "axis": {
            "title": "people a day",
            "tickCount": 4,
            "labelExpr": _NUMBERS,
            "domain": False,
            "ticks": False,
            "tickMinStep": 1,
        },
    }
    shown = {"x": x, "y": y}
    layers: list[Spec] = [_shades(figures, UNKNOWN), _shades(figures, LEFT_OUT)]
    layers.append(
        {
            "mark": {
                "type": "line",
                "color": "var(--bar)",
                "strokeWidth": 2,
                "invalid": "break-paths-show-path-domains",
                "aria": False,
            },
            # A day that is not over would bend the line down.
            "transform": [{"calculate": "datum.partial ? null : datum.people", "as": "whole"}],
            "encoding": {"x": x, "y": {**y, "field": "whole"}},
        }
    )
    for is_partial in ("false", "true"):
        mark = {"type": "point", "size": 28 if len(values) <= MOST_POINTS else 8, "opacity": 1}
        fill = "var(--paper)" if is_partial == "true" else "var(--bar)"
        layers.append(
            {
                "transform": [
                    {"filter": f"isValid(datum.people) && datum.partial == {is_partial}"}
                ],
                "mark": {**mark, "filled": False, "fill": fill, "stroke": "var(--bar)"},
                "encoding": {**shown, "description": {"field": "title"}},
            }
        )
    return {
        "$schema": SCHEMA,
        "background": None,
        "padding": {**SLACK, "right": 24, "top": 8},
        "width": TREND_WIDTH,
        "height": TREND_HEIGHT,
        "data": {"values": values},
        "layer": layers,
        "config": CONFIG,
    }


def _day(figure: DayFigure) -> Spec:
    count = "no number" if figure.people is None else f"{number(figure.people)} people"
    doubts = ", ".join(label for label in figure.labels if label != "fresh")
    return {
        "day": figure.day.isoformat(),
        "people": figure.people,
        "partial": PARTIAL in figure.labels,
        "title": f"{figure.day}: {count}" + (f" ({doubts})" if doubts else ""),
    }


def _shades(figures: Sequence[DayFigure], state: str) -> Spec:
    """Return a shade over each run of days with this state.

    A shade begins at noon on the day before the run, and ends at noon on its last day.
    """
    values: list[Spec] = []
    for _, group in groupby(figures, lambda figure: state in figure.labels):
        days = list(group)
        if state in days[0].labels:
            first, last = days[0].day, days[-1].day
            span = str(first) if first == last else f"{first} to {last}"
            start, end = f"{first - timedelta(days=1)}T12:00:00Z", f"{last}T12:00:00Z"
            values.append({"start": start, "end": end, "title": f"{span}: {state}"})
    colour = "var(--unknown)" if state == UNKNOWN else "var(--left-out)"
    return {
        "data": {"values": values},
        "mark": {"type": "rect", "color": colour},
        "encoding": {
            "x": {"field": "start", "type": "temporal", "scale": {"type": "utc"}},
            "x2": {"field": "end"},
            "description": {"field": "title"},
        },
    }
