"""What the demo prints at its end: totals, daily users with a trend, top routes, drops, receipts, what to type next."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import cast

from rich.table import Table

from signal_pipeline import console
from signal_pipeline.store.database import Connection, sql
from signal_pipeline.store.receipts import list_receipts

BARS = "▁▂▃▄▅▆▇█"


def trend(values: Sequence[int]) -> str:
    """Values as a line of eight heights; the highest is the tallest."""
    top = max(values, default=0) or 1
    return "".join(BARS[round(value / top * (len(BARS) - 1))] for value in values)


def show_summary(connection: Connection, first: date, last: date) -> None:
    """Print the numbers of the days `first` to `last`, inclusive."""
    window = {"first": first, "last": last}
    console.out.print(f"\n[bold]Signal, {first} to {last} (UTC days)[/bold]\n")
    totals = connection.execute(sql("summary_totals"), window).fetchone()
    assert totals is not None
    received, accepted, duplicate, dropped = (cast(int, value) for value in totals)
    console.out.print(
        f"received {received:,} = accepted {accepted:,} + duplicate {duplicate:,} + dropped {dropped:,}\n"
    )
    _show_users(connection, window)
    _show_counts(connection, "Top routes", "summary_routes", window)
    _show_counts(connection, "Dropped, by reason", "summary_drops", window)
    receipts = list_receipts(connection)
    console.out.print(f"[bold]Purged days ({len(receipts)}), each with its receipt[/bold]")
    for receipt in receipts:
        console.out.print(
            f"  {receipt.day}  {receipt.raw_events:>6,} raw events deleted at "
            f"{receipt.purged_at:%Y-%m-%d %H:%M} UTC; its rollups stay"
        )
    console.out.print(
        f"""
[bold]What to type next[/bold]
  make dev                                            the Dagster UI: lineage, partitions, checks
  .venv/bin/signal-pipeline status                    each day and how fresh it is
  .venv/bin/signal-pipeline report route --from {first} --to {last} --by total
  .venv/bin/signal-pipeline backfill --from {last} --to {last}
  .venv/bin/signal-pipeline status --receipts         the proofs of what was deleted"""
    )


def _show_users(connection: Connection, window: dict[str, date]) -> None:
    table = Table("app", "events", "users, last day", "users, busiest day", "daily users", box=None)
    for column in table.columns[1:4]:
        column.justify = "right"
    for app, events, users in connection.execute(sql("summary_users"), window).fetchall():
        daily = cast("list[int]", users)
        table.add_row(str(app), f"{events:,}", f"{daily[-1]:,}", f"{max(daily):,}", trend(daily))
    console.out.print("[bold]Daily users, exact per app and UTC day (never added up)[/bold]")
    console.out.print(table, "")


def _show_counts(connection: Connection, title: str, query: str, window: dict[str, date]) -> None:
    table = Table(box=None, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, events in connection.execute(sql(query), window).fetchall():
        table.add_row(f"  {name}", f"{events:,}")
    console.out.print(f"[bold]{title}[/bold]")
    console.out.print(table, "", markup=False)
