"""A figure of the page: a chart, its table and its CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart, its table and its CSV. Without rows, `lead` says why there are none.

    `anchor` is the figure's id in the page. `numeric` holds the places of the columns of numbers,
    from 0. `label` describes the chart in a sentence. If `is_open`, the table is unfolded at first.
    """

    anchor: str
    title: str
    lead: str
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    numeric: Sequence[int] = ()
    csv_name: str = ""
    csv: str = ""
    label: str = ""
    chart: dict[str, Any] | None = None
    is_open: bool = False


def bars_label(what: str, bars: Sequence[tuple[str, int, str]]) -> str:
    """Return a sentence that describes a chart of bars to a screen reader."""
    if not bars:
        return ""
    name, _, text = bars[0]
    return (
        f"Bars of {len(bars)} {what} by events. Most: {name}, {text}. The table has every number."
    )
