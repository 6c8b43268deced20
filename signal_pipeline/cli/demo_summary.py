"""Prints the demo's summary: totals, daily users with a trend, top routes, drops, receipts.

It ends with what to type next, and where the page of these days is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import partial
from pathlib import Path

from signal_pipeline.cli import console
from signal_pipeline.days.receipts import list_receipts
from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.query import query

BARS = "▁▂▃▄▅▆▇█"
_say = partial(console.say, to=console.out)


def trend(values: Sequence[int]) -> str:
    """Return values as a line of bars of eight heights; the highest value is the tallest."""
    top = max(values, default=0) or 1
    return "".join(BARS[round(value / top * (len(BARS) - 1))] for value in values)


def show_summary(connection: Connection, first: date, last: date, page: Path) -> None:
    """Print the numbers of the days `first` to `last`, inclusive, and where to find their page."""
    window = {"first": first, "last": last}
    _say()
    _say(f"Signal, {first} to {last} (UTC days)", bold=True)
    _say()
    totals = connection.execute(query(__package__, "summary_totals"), window).fetchone()
    assert totals is not None
    received, accepted, duplicate, dropped = totals
    _say(
        f"received {received:,} = accepted {accepted:,} + duplicate {duplicate:,} + dropped"
        f" {dropped:,}"
    )
    _say()
    _show_users(connection, window)
    _show_counts(connection, "Top routes", "summary_routes", window)
    _show_counts(connection, "Dropped, by reason", "summary_drops", window)
    receipts = list_receipts(connection)
    _say(f"Purged days ({len(receipts)}), each with its receipt", bold=True)
    for receipt in receipts:
        _say(
            f"  {receipt.day}  {receipt.raw_events:>6,} raw events deleted at "
            f"{receipt.purged_at:%Y-%m-%d %H:%M} UTC; its rollups stay"
        )
    _say()
    _say("What to type next", bold=True)
    _say(
        "  make dev                                            the Dagster UI: lineage, partitions,"
        " checks"
    )
    _say("  .venv/bin/signal-pipeline status                    each day and how fresh it is")
    _say(f"  .venv/bin/signal-pipeline report route --from {first} --to {last} --by total")
    _say(f"  .venv/bin/signal-pipeline backfill --from {last} --to {last}")
    _say("  .venv/bin/signal-pipeline status --receipts         the proofs of what was deleted")
    _say(
        f"  .venv/bin/signal-pipeline report --format html --for-admins --from {first} --to {last}"
        " --out usage.html"
    )
    _say()
    _say("Open the page of these days in a browser", bold=True)
    _say(f"  {page}")


def _show_users(connection: Connection, window: dict[str, date]) -> None:
    rows = []
    for app, events, daily in connection.execute(
        query(__package__, "summary_users"), window
    ).fetchall():
        rows.append((app, events, daily[-1], max(daily), trend(daily)))
    _say("Daily users, exact per app and UTC day (never added up)", bold=True)
    columns = ("app", "events", "users, last day", "users, busiest day", "daily users")
    console.print_table(columns, rows, right=(1, 2, 3), to=console.out)
    _say()


def _show_counts(connection: Connection, title: str, name: str, window: dict[str, date]) -> None:
    counts = connection.execute(query(__package__, name), window).fetchall()
    rows = [(f"  {label}", events) for label, events in counts]
    _say(title, bold=True)
    console.print_table(("", ""), rows, right=(1,), to=console.out, header=False)
    _say()
