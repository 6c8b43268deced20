"""The command `status`: the newest days, and each older day that needs attention."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated

import typer

from signal_pipeline.cli import console
from signal_pipeline.cli.options import Json
from signal_pipeline.cli.show import show_days, show_hidden_days, show_receipts, status_object
from signal_pipeline.days.calendar import first_kept_day, today_utc
from signal_pipeline.days.freshness import DayStatus, day_statuses
from signal_pipeline.postgres.database import open_database
from signal_pipeline.settings import load_settings

NEWEST_DAYS = 14  # So many days, with the lines around them, fit a terminal of 24 lines.


def status(
    newest: Annotated[
        int,
        typer.Option(
            "--days", min=1, metavar="N", help="Show the newest N days. JSON has every day."
        ),
    ] = NEWEST_DAYS,
    receipts: Annotated[
        bool,
        typer.Option("--receipts", help="List the receipts of purges instead of the days."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the newest days: events by the books, version, state, rollups and users.

    The column of rollups says how many are fresh. The column of users says whether the number of
    users is exact; before the first build it says unknown, and today partial. Older days are only
    counted, unless they need attention: a rollup is stale or missing, or raw events are kept past
    their retention. Events by the books are those accepted and not erased; a purged day has 0. This
    command does not count the stored events; the check books_reconcile does.
    """
    from signal_pipeline.days.coverage import days_note, read_coverage
    from signal_pipeline.days.placement import distributed_tables
    from signal_pipeline.days.quality import day_quality
    from signal_pipeline.days.receipts import list_receipts
    from signal_pipeline.rollups.models import load_models

    settings, today = load_settings(), today_utc()
    checksums = load_models().checksums
    with open_database(settings).connect() as connection:
        days = day_statuses(connection, checksums)
        quality = day_quality(connection, days[0].day, days[-1].day) if days else {}
        distributed = distributed_tables(connection)
        coverage = read_coverage(connection, days[0].day, today) if days else None
        # Read only if asked for: a login that may read rollups may lack the right to see receipts.
        found_receipts = list_receipts(connection) if receipts else None
    if found_receipts is not None:
        show_receipts(found_receipts)
    else:
        shown, hidden = _split(days, newest, first_kept_day(today, settings.retention_days))
        show_days(shown, quality, coverage.today if coverage else today)
        show_hidden_days(hidden, quality)
        gaps = coverage.untouched if coverage else []
        for note in days_note(gaps, "are not listed: they have neither events nor builds"):
            console.say(f"note: {note}")
    if distributed:
        tables = (
            f"signal.{table.name} by {table.by_column} in {table.shards} shards"
            for table in distributed.values()
        )
        console.say(f"Distributed over the cluster: {', '.join(tables)}.")
    if as_json:
        console.print_json(status_object(days, quality, found_receipts, distributed))


def _split(
    days: Sequence[DayStatus], newest: int, first_kept: date
) -> tuple[list[DayStatus], list[DayStatus]]:
    """Return the days to show and the days to count; `days` are in order, the oldest first."""
    shown, hidden = list[DayStatus](), list[DayStatus]()
    for status in days[:-newest]:
        overdue = status.state == "open" and status.day < first_kept
        (shown if overdue or status.wants_build else hidden).append(status)
    return [*shown, *days[-newest:]], hidden
