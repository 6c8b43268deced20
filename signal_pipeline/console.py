"""How results look on a terminal: tables, progress bars, one line for an error.

Tables and progress go to stderr when stdout carries JSON or CSV, so that a pipe gets data only.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

if TYPE_CHECKING:  # The command must start fast: these import Dagster and pandas.
    from datetime import date

    from signal_pipeline.backfill import Backfilled, Plan
    from signal_pipeline.catalogue import Catalogue
    from signal_pipeline.catalogue_usage import Usage
    from signal_pipeline.ingest import Counts
    from signal_pipeline.reports import Report
    from signal_pipeline.rollups.difference import Difference
    from signal_pipeline.store.freshness import DayStatus
    from signal_pipeline.store.quality import DayQuality
    from signal_pipeline.store.receipts import Receipt
    from signal_pipeline.store.retention import Purged

SHOWN_ROWS = 60
WIDE = 200  # Where no terminal sets a width, nothing is cut.
out = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
err = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else WIDE)


def say(text: str) -> None:
    """Print a sentence."""
    err.print(text, soft_wrap=True)


def complain(text: str) -> None:
    """Print an error as one line on stderr."""
    err.print(f"error: {' '.join(text.split())}", markup=False, soft_wrap=True)


def print_json(value: object) -> None:
    """Print one JSON value on stdout, on one line."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


@contextmanager
def bytes_read(path: Path | None) -> Iterator[tuple[BinaryIO, Callable[[int], None]]]:
    """Open a file, or stdin for None, with a progress bar on a terminal."""
    if path is None:
        yield sys.stdin.buffer, lambda done: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with path.open("rb") as stream, Progress(*columns, console=err, disable=not err.is_terminal) as bar:
        task = bar.add_task(path.name, total=os.fstat(stream.fileno()).st_size or None)
        yield stream, lambda done: bar.advance(task, done)


@contextmanager
def days_done(total: int, title: str = "days") -> Iterator[Callable[[int], None]]:
    """A progress bar over days, on a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, disable=not err.is_terminal) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.advance(task, done)


def show_counts(counts: Counts) -> None:
    """What became of the events of an ingest."""
    table = Table("outcome", "events", box=None)
    table.columns[1].justify = "right"
    for name, events in (
        ("received", counts.received),
        ("accepted", counts.accepted),
        ("duplicate", counts.duplicate),
        *((f"dropped: {reason}", events) for reason, events in sorted(counts.dropped.items())),
    ):
        table.add_row(name, f"{events:,}")
    err.print(table)


def warn_of_malformed(name: str, counts: Counts) -> None:
    """A warning for a file of which most lines are malformed, with the number of the first."""
    malformed = counts.dropped["malformed"]
    if malformed * 2 > counts.received:
        say(
            f"warning: {escape(name)}: {malformed:,} of {counts.received:,} lines are malformed; the first is line"
            f" {counts.first_malformed:,}"
        )


def show_plan(plan: Plan, differences: Sequence[Difference] | None) -> None:
    """What a backfill would do, day by day; with differences, also what each rollup would change."""
    table = Table("day", "would be", "now", box=None)
    for day in sorted([*plan.days, *plan.refused, *plan.fresh]):
        status = plan.present.get(day)
        now = _freshness(status) if status else "no events yet"
        if day in plan.refused:
            table.add_row(str(day), "refused", plan.refused[day])
        else:
            table.add_row(str(day), "left alone" if day in plan.fresh else "rebuilt", now)
    err.print(table)
    if differences is not None:
        _show_differences(differences)


def _show_differences(differences: Sequence[Difference]) -> None:
    changed = [difference for difference in differences if not difference.same]
    say(f"{len(changed)} of {len(differences)} rollup days would change; nothing was changed now")
    if not changed:
        return
    table = Table("day", "rollup", "rows", "added", "removed", "changed", "events", box=None)
    for column in table.columns[2:]:
        column.justify = "right"
    for each in changed:
        table.add_row(
            str(each.day),
            each.rollup,
            f"{each.stored_rows:,} -> {each.computed_rows:,}",
            *(f"{count:,}" for count in (each.added, each.removed, each.changed)),
            f"{each.stored_events:,} -> {each.computed_events:,}",
        )
    err.print(table)


def _freshness(status: DayStatus) -> str:
    kinds = sorted(set(status.rollups.values()))
    return f"{', '.join(kinds)}; {status.events:,} events"


def show_backfill(result: Backfilled) -> None:
    """What a backfill did."""
    say(f"{len(result.built)} day(s) rebuilt in {result.runs} run(s), {result.seconds:.1f} s")
    for day, reason in sorted(result.refused.items()):
        say(f"{day}: refused: {reason}")


def show_purged(result: Purged) -> None:
    """What the retention did, or would do."""
    verb = "would be purged" if result.dry_run else "purged"
    say(f"{len(result.purged)} day(s) {verb}; {len(result.kept)} due day(s) kept")
    for day in result.purged:
        say(f"{day}: {verb}")
    for day, reason in result.kept.items():
        say(f"{day}: kept: {reason}")


def show_days(days: Sequence[DayStatus], quality: Mapping[date, DayQuality]) -> None:
    """One line per day, newest first."""
    table = Table("day", "events by the books", "version", "state", "rollups", "users", box=None)
    table.columns[1].justify = table.columns[2].justify = "right"
    for status in sorted(days, key=lambda status: status.day, reverse=True):
        counted = {kind: list(status.rollups.values()).count(kind) for kind in status.rollups.values()}
        rollups = ", ".join(f"{n} {kind}" for kind, n in sorted(counted.items()))
        users = ", ".join(_labels(quality, status.day)) or "exact"
        table.add_row(str(status.day), f"{status.events:,}", str(status.version), status.state, rollups, users)
    err.print(table)


def _labels(quality: Mapping[date, DayQuality], day: date) -> list[str]:
    return sorted(quality[day].labels(None)) if day in quality else []


def show_receipts(receipts: Sequence[Receipt]) -> None:
    """One line per purge."""
    table = Table("day", "purged at (UTC)", "raw events", "first event", "last event", "MB", "note", box=None)
    for column in (2, 5):
        table.columns[column].justify = "right"
    for receipt in receipts:
        times = [f"{at:%H:%M:%S}" if at else "" for at in (receipt.first_event, receipt.last_event)]
        note = f"incomplete: {receipt.reason}" if receipt.incomplete else ""
        table.add_row(
            str(receipt.day),
            f"{receipt.purged_at:%Y-%m-%d %H:%M:%S}",
            f"{receipt.raw_events:,}",
            *times,
            f"{receipt.bytes / 1e6:.1f}",
            note,
        )
    err.print(table)


def status_object(
    days: Sequence[DayStatus], quality: Mapping[date, DayQuality], receipts: Sequence[Receipt] | None
) -> dict[str, object]:
    """The object that `status --json` prints; a day has `labels` only where its users are not exact.

    `events`: accepted and not erased by the books, 0 for a purged day; nothing counts what is stored.
    """
    value: dict[str, object] = {
        "days": [
            {
                "day": str(status.day),
                "events": status.events,
                "version": status.version,
                "state": status.state,
                "rollups": dict(status.rollups),
                **({"labels": labels} if (labels := _labels(quality, status.day)) else {}),
            }
            for status in days
        ]
    }
    if receipts is not None:
        value["receipts"] = [{name: getattr(receipt, name) for name in receipt.__slots__} for receipt in receipts]
    return value


def show_catalogue(catalogue: Catalogue, usage: Usage, today: date) -> None:
    """The event types with their use, then the apps and entity types."""
    table = Table("event type", "state", "events", "last day", "entity", "description", "owner", "fires when", box=None)
    table.columns[2].justify = "right"
    seen = usage.seen or {}
    for kind in catalogue.event_types.values():
        used = seen.get(kind.name)
        entity = f"{kind.entity or ''}{'' if kind.entity_required or not kind.entity else ' (if known)'}"
        fields = (kind.description_schema or {}).get("properties")
        table.add_row(
            kind.name,
            usage.state(kind, today),
            f"{used.events:,}" if used else "",
            str(used.last_day) if used else "",
            entity,
            escape(", ".join(map(str, fields))) if isinstance(fields, dict) else "",
            kind.owner,
            escape(kind.fires_when),
        )
    out.print(table)
    for title, entries in (("apps", catalogue.apps), ("entity types", catalogue.entity_types)):
        names = (f"{entry.name}{' (retired)' if entry.retired else ''}" for entry in entries.values())
        out.print(f"{title}: {', '.join(names)}", soft_wrap=True)
    for state in ("never seen", "long dead"):
        named = [kind.name for kind in catalogue.event_types.values() if usage.state(kind, today) == state]
        if usage.seen is not None:
            out.print(f"{state}: {', '.join(named) or 'none'}", soft_wrap=True)
    for note in usage.notes:
        say(f"note: {escape(note)}")


def show_report(report: Report, format_name: str) -> None:
    """A report as a table, CSV or a list of JSON objects; notes go to stderr."""
    rows = report.rows
    if format_name == "csv":
        rows.to_csv(sys.stdout, index=False)
    elif format_name == "json":
        print_json(rows.astype(object).where(rows.notna(), None).to_dict("records"))
    else:
        table = Table(*map(str, rows.columns), box=None)
        for column, name in zip(table.columns, rows.columns, strict=True):
            if rows[name].dtype.kind in "if":
                column.justify = "right"
        for row in rows.head(SHOWN_ROWS).itertuples(index=False):
            table.add_row(*(f"{v:,}" if isinstance(v, int) else escape(str(v)) for v in row))
        out.print(table)
        if len(rows) > SHOWN_ROWS:
            say(f"... and {len(rows) - SHOWN_ROWS:,} more rows: use --format csv or json")
    for note in report.notes:
        say(f"note: {note}")
