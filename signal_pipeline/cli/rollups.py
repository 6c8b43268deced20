"""The commands for the daily rollups: `backfill` and `status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from signal_pipeline.cli import console
from signal_pipeline.cli.options import From, Json, To, check_order
from signal_pipeline.cli.show import (
    show_backfill,
    show_days,
    show_plan,
    show_receipts,
    status_object,
)
from signal_pipeline.days.calendar import today_utc
from signal_pipeline.errors import UsageError
from signal_pipeline.postgres.database import open_database, safe_errors
from signal_pipeline.settings import load_settings

if TYPE_CHECKING:  # The command must start fast, and these import Dagster and sqlglot.
    from collections.abc import Mapping

    from signal_pipeline.dagster.backfill import Plan
    from signal_pipeline.rollups.models import Model


def backfill(
    first: From,
    last: To,
    rollup: Annotated[list[str] | None, typer.Option(help="Default: every rollup.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only list what would be rebuilt.")] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="With --plan: compute it, and show what would change.")
    ] = False,
    only_stale: Annotated[
        bool, typer.Option("--only-stale", help="Leave fresh days alone; resumes a backfill.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Rebuild the rollups of the days from --from to --to through Dagster."""
    from signal_pipeline.dagster import backfill as backfills
    from signal_pipeline.rollups.models import load_models

    check_order(first, last)
    if diff and not plan:
        raise UsageError("--diff goes with --plan: it only shows")
    settings, models = load_settings(), load_models()
    chosen = backfills.chosen_models(models, rollup or [])
    database = open_database(settings)
    with safe_errors(), database.connect() as connection:
        planned = backfills.plan_backfill(connection, chosen, first, last, only_stale=only_stale)
    if plan:
        _show_plan(planned, chosen, diff, as_json)
        return
    from signal_pipeline.dagster.home import open_instance
    from signal_pipeline.dagster.partitions import DAYS_PER_RUN

    with open_instance(settings) as instance, console.days_done(len(planned.days)) as progress:
        from signal_pipeline.definitions import defs

        result = backfills.run_backfill(
            instance, defs, database, planned, list(chosen), DAYS_PER_RUN, progress
        )
    show_backfill(result)
    if as_json:
        console.print_json(result.as_dict())
    if not result.built and (planned.days or not planned.fresh):
        raise typer.Exit(1)


def _show_plan(plan: Plan, models: Mapping[str, Model], diff: bool, as_json: bool) -> None:
    from signal_pipeline.dagster.backfill import Backfilled, plan_differences
    from signal_pipeline.rollups.open_engine import open_engine

    differences = None
    if diff:
        settings = load_settings()
        database = open_database(settings)
        with console.days_done(len(plan.days)) as progress:
            differences = plan_differences(
                database, open_engine(settings, database), models, plan, progress
            )
    show_plan(plan, differences)
    if as_json:
        value = {
            **Backfilled(refused=plan.refused).as_dict(),
            "would_build": [str(day) for day in plan.days],
        }
        if differences is not None:
            value["differences"] = [difference.as_dict() for difference in differences]
        console.print_json(value)


def status(
    receipts: Annotated[
        bool, typer.Option("--receipts", help="List the receipts of purges.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show each day: events by the books, version, state, and each rollup's freshness.

    Events by the books are those accepted and not erased; a purged day has 0. The check
    books_reconcile counts what is stored.
    """
    from signal_pipeline.days.coverage import days_note, read_coverage
    from signal_pipeline.days.freshness import day_statuses
    from signal_pipeline.days.quality import day_quality
    from signal_pipeline.days.receipts import list_receipts
    from signal_pipeline.rollups.models import load_models

    checksums = {name: model.checksum for name, model in load_models().items()}
    with safe_errors(), open_database(load_settings()).connect() as connection:
        days = day_statuses(connection, checksums)
        quality = day_quality(connection, days[0].day, days[-1].day) if days else {}
        gaps = read_coverage(connection, days[0].day, today_utc()).untouched if days else []
        # A reader may not see the receipts.
        proofs = list_receipts(connection) if receipts else None
    if proofs is not None:
        show_receipts(proofs)
    else:
        show_days(days, quality)
        for note in days_note(gaps, "are not listed: no event of them came, and nothing was built"):
            console.say(f"note: {note}")
    if as_json:
        console.print_json(status_object(days, quality, proofs))
