"""The figures of the books: how many events were received, and how many dropped. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from signal_pipeline.reports.page import charts, numbers
from signal_pipeline.reports.page.csv_links import csv_text
from signal_pipeline.reports.page.facts import Facts
from signal_pipeline.reports.page.figure import Figure, bars_label
from signal_pipeline.reports.page.words import REASONS
from signal_pipeline.reports.small_cells import LEAST_USERS


def drops(facts: Facts) -> Figure:
    """Return the events that were received but not stored, by reason.

    Below admin, a reason with few events is named without its number.
    """
    rows: list[tuple[str, str, str]] = []
    data: list[tuple[str, int | None, str]] = []
    bars: list[tuple[str, int, str]] = []
    meanings: Mapping[str, str] = {str(reason): text for reason, text in REASONS.items()}
    for reason, events in facts.drops:
        is_small = events < LEAST_USERS and not facts.for_admins
        text = f"under {LEAST_USERS}" if is_small else numbers.number(events)
        rows.append((reason, meanings.get(reason, ""), text))
        data.append((reason, None if is_small else events, text if is_small else ""))
        if not is_small:
            bars.append((reason, events, text))
    lead = (
        "Events that were received but not stored, by the first reason that applied. They do not"
        " count as use of a feature."
    )
    return Figure(
        "drops",
        "By reason",
        lead if rows else "Nothing was dropped in this window, as far as its days are known.",
        ("reason", "what it means", "events"),
        rows,
        (2,),
        "drops.csv",
        csv_text(("reason", "events", "note"), data),
        bars_label("reasons", bars),
        charts.bars(bars, "events dropped") if bars else None,
        is_open=True,
    )


def books(facts: Facts) -> Figure | None:
    """Return the whole books of each app; for admins only, since they count what is left out."""
    if not facts.books:
        return None
    columns = ("app", "received", "accepted", "duplicate", "dropped", "erased later")
    data = [
        (each.app_name, each.received, each.accepted, each.duplicate, each.dropped, each.erased)
        for each in facts.books
    ]
    return Figure(
        "books",
        "The books",
        "received = accepted + duplicate + dropped, for each app.",
        columns,
        [(name, *map(numbers.number, counts)) for name, *counts in data],
        range(1, len(columns)),
        "books.csv",
        csv_text(columns, data),
    )
