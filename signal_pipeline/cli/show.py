"""Shows the results of most commands: what is printed, in which columns and words."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING

from signal_pipeline.cli import console
from signal_pipeline.texts.printable import printable

if TYPE_CHECKING:  # The command must start fast, and one of these imports Dagster.
    from signal_pipeline.dagster.backfill import BackfillPlan, BackfillResult
    from signal_pipeline.days.freshness import DayStatus
    from signal_pipeline.days.placement import DistributedTable
    from signal_pipeline.days.quality import DayQuality
    from signal_pipeline.days.receipts import Receipt
    from signal_pipeline.ingest.pipeline import Counts
    from signal_pipeline.privacy.retention import PurgeResult
    from signal_pipeline.privacy.retention_rule import Refusal
    from signal_pipeline.reports.report import Report
    from signal_pipeline.rollups.difference import Difference, NotComputed

SHOWN_ROWS = 60


def show_counts(counts: Counts) -> None:
    """Show what became of the events of an ingest."""
    rows = (
        ("received", counts.received),
        ("accepted", counts.accepted),
        ("duplicate", counts.duplicate),
        *((f"dropped: {reason}", events) for reason, events in sorted(counts.dropped.items())),
    )
    console.print_table(("outcome", "events"), rows, right=(1,))


def warn_of_malformed(name: str, counts: Counts) -> None:
    """Warn of a file whose lines are mostly malformed, with the number of the first such line."""
    malformed = counts.dropped["malformed"]
    if malformed * 2 > counts.received:
        console.say(
            f"warning: {name}: {malformed:,} of {counts.received:,} lines are malformed; the first"
            f" is line {counts.first_malformed:,}"
        )


def show_plan(plan: BackfillPlan, differences: Sequence[Difference | NotComputed] | None) -> None:
    """Show what a backfill would do, day by day.

    With differences, show also what would change in each rollup.
    """
    rows = []
    for day in sorted([*plan.days, *plan.refused, *plan.fresh]):
        status = plan.present.get(day)
        now = _freshness(status) if status else "no events yet"
        if day in plan.refused:
            rows.append((day, "refused", plan.refused[day]))
        else:
            rows.append((day, "left alone" if day in plan.fresh else "rebuilt", now))
    console.print_table(("day", "would be", "now"), rows)
    if differences is not None:
        _show_differences(differences)


def _show_differences(differences: Sequence[Difference | NotComputed]) -> None:
    from signal_pipeline.rollups.difference import NotComputed

    changed = []
    for each in differences:
        if isinstance(each, NotComputed):
            console.say(f"{each.day}: a build would fail, {each.reason}")
        elif not each.same:
            changed.append(each)
    console.say(
        f"{len(changed)} of {len(differences)} rollup days would change; nothing was changed now"
    )
    if not changed:
        return
    rows = (
        (
            each.day,
            each.rollup,
            f"{each.stored_rows:,} -> {each.computed_rows:,}",
            *(each.added, each.removed, each.changed),
            f"{each.stored_events:,} -> {each.computed_events:,}",
        )
        for each in changed
    )
    columns = ("day", "rollup", "rows", "added", "removed", "changed", "events")
    console.print_table(columns, rows, right=range(2, len(columns)))


def _freshness(status: DayStatus) -> str:
    kinds = sorted(set(status.rollups.values()))
    return f"{', '.join(kinds)}; {status.events:,} events"


def show_backfill(result: BackfillResult) -> None:
    """Show what a backfill did."""
    console.say(
        f"{len(result.built)} day(s) rebuilt in {result.runs} run(s), {result.seconds:.1f} s"
    )
    for day, reason in sorted(result.refused.items()):
        console.say(f"{day}: refused: {reason}")


def show_purged(result: PurgeResult) -> None:
    """Show what the retention did, or would do."""
    verb = "would be purged" if result.dry_run else "purged"
    console.say(f"{len(result.purged)} day(s) {verb}; {len(result.kept)} due day(s) kept")
    for day in result.purged:
        console.say(f"{day}: {verb}")
    for day, reason in result.kept.items():
        console.say(f"{day}: kept: {reason}")
    if result.refusal and result.dry_run:
        console.say(f"would be refused: {result.refusal.reason}{confirm_advice(result.refusal)}")


def confirm_advice(refusal: Refusal) -> str:
    """Return how to confirm days that are due by the clock alone, or "" if that is impossible."""
    if not refusal.confirmable:
        return ""
    return (
        f" To confirm them, run `signal-pipeline retention --confirm-days {refusal.confirmable}`."
    )


def show_days(days: Sequence[DayStatus], quality: Mapping[date, DayQuality], today: date) -> None:
    """Show one line per day, newest first; `today` and later days are not over."""
    rows = []
    for status in sorted(days, key=lambda status: status.day, reverse=True):
        counted = {
            kind: list(status.rollups.values()).count(kind) for kind in status.rollups.values()
        }
        rollups = ", ".join(f"{n} {kind}" for kind, n in sorted(counted.items()))
        labels = _labels(quality, status)
        if not status.is_built:
            labels.append("unknown")
        elif status.day >= today:
            labels.append("partial")
        users = ", ".join(labels) or "exact"
        rows.append((status.day, status.events, str(status.version), status.state, rollups, users))
    console.print_table(
        ("day", "events by the books", "version", "state", "rollups", "users"), rows, right=(1, 2)
    )


def show_hidden_days(days: Sequence[DayStatus], quality: Mapping[date, DayQuality]) -> None:
    """Count the days that are not shown, by state, by freshness and by label."""
    if not days:
        return
    counts = Counter(
        word
        for status in days
        for word in {status.state, *status.rollups.values(), *_labels(quality, status)}
    )
    words = ", ".join(f"{number:,} {word}" for word, number in sorted(counts.items()))
    console.say(
        f"note: {len(days):,} older day(s) need no attention and are not shown ({words}); --days N"
        " shows the newest N"
    )


def _labels(quality: Mapping[date, DayQuality], status: DayStatus) -> list[str]:
    """Return why the users of the day are not exact."""
    known = quality[status.day].labels(None) if status.day in quality else set[str]()
    return sorted(known | ({"incomplete"} if status.incomplete else set()))


def show_receipts(receipts: Sequence[Receipt]) -> None:
    """Show one line per purge."""
    rows = []
    for receipt in receipts:
        times = [f"{at:%H:%M:%S}" if at else "" for at in (receipt.first_event, receipt.last_event)]
        note = f"incomplete: {receipt.reason}" if receipt.incomplete else ""
        purged_at, megabytes = (
            f"{receipt.purged_at:%Y-%m-%d %H:%M:%S}",
            f"{receipt.bytes / 1e6:.1f}",
        )
        rows.append((receipt.day, purged_at, receipt.raw_events, *times, megabytes, note))
    columns = ("day", "purged at (UTC)", "raw events", "first event", "last event", "MB", "note")
    console.print_table(columns, rows, right=(2, 5))


def status_object(
    days: Sequence[DayStatus],
    quality: Mapping[date, DayQuality],
    receipts: Sequence[Receipt] | None,
    distributed: Mapping[str, DistributedTable],
) -> dict[str, object]:
    """Return the object that `status --json` prints.

    On a cluster only, `distributed` gives the column and the number of shards of each distributed
    table.

    A day has `labels` only if its users are not exact. `events` come from the books (accepted and
    not erased; 0 for a purged day); the stored events are not counted.
    """
    value: dict[str, object] = {
        "days": [
            {
                "day": str(status.day),
                "events": status.events,
                "version": status.version,
                "state": status.state,
                "rollups": dict(status.rollups),
                **({"labels": labels} if (labels := _labels(quality, status)) else {}),
            }
            for status in days
        ]
    }
    if distributed:
        value["distributed"] = {
            table.name: {"by": table.by_column, "shards": table.shards}
            for table in distributed.values()
        }
    if receipts is not None:
        value["receipts"] = [
            {name: getattr(receipt, name) for name in receipt.__slots__} for receipt in receipts
        ]
    return value


def show_report(report: Report, format_name: str) -> None:
    """Print a report as a table, as CSV or as a list of JSON objects; notes go to stderr."""
    rows = report.rows
    if format_name == "csv":
        _print_csv(rows.columns, rows.records)
    elif format_name == "json":
        console.print_json(rows.records)
    else:
        _print_rows(rows.columns, rows.records)
    for note in report.notes:
        console.say(f"note: {note}")
    if report.left_out:
        console.say(
            f"note: {report.left_out:,} row(s) are left out: small cells, and rows from which one"
            " could work them out; see docs/privacy.md"
        )


def _print_csv(columns: Sequence[str], records: Sequence[Mapping[str, object]]) -> None:
    # Text is escaped for a terminal only: a pipe gets the data as it is.
    escape = sys.stdout.isatty()
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for record in records:
        values = (record[name] for name in columns)
        writer.writerow(
            printable(value) if escape and isinstance(value, str) else value for value in values
        )
    sys.stdout.flush()  # A full disk or a closed pipe shows here, not after the command.


def _print_rows(columns: Sequence[str], records: Sequence[Mapping[str, object]]) -> None:
    numbers = []
    for place, name in enumerate(columns):
        kinds = {type(record[name]) for record in records if record[name] is not None}
        if kinds and kinds <= {int, float}:
            numbers.append(place)
    shown = (
        ["" if record[name] is None else record[name] for name in columns]
        for record in records[:SHOWN_ROWS]
    )
    console.print_table(columns, shown, right=numbers, to=console.out)
    if len(records) > SHOWN_ROWS:
        console.say(f"... and {len(records) - SHOWN_ROWS:,} more rows: use --format csv or json")
