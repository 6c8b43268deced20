"""The command `backfill`, and how other commands rebuild days."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from signal_pipeline.cli import console
from signal_pipeline.cli.completion import complete_rollup
from signal_pipeline.cli.options import From, Json, To, check_order
from signal_pipeline.cli.show import (
    show_backfill,
    show_plan,
)
from signal_pipeline.errors import UsageError
from signal_pipeline.postgres.database import Database, open_database
from signal_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:  # The command must start fast, and these import Dagster and sqlglot.
    from signal_pipeline.dagster.backfill import BackfillPlan, BackfillResult
    from signal_pipeline.rollups.models import Models


def backfill(
    first: From,
    last: To,
    rollup: Annotated[
        list[str] | None,
        typer.Option(help="Default: every rollup.", autocompletion=complete_rollup),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only list what would be rebuilt.")] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="With --plan: compute and show what would change.")
    ] = False,
    only_stale: Annotated[
        bool, typer.Option("--only-stale", help="Leave fresh days alone; resumes a backfill.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Rebuild the rollups of the days from --from to --to through Dagster.

    Exits with 0 if every day that could be rebuilt was, and with 1 if one of them failed or if
    every day was refused. Days that are refused beforehand, such as purged ones, are no failure if
    another day is rebuilt or, with --only-stale, is fresh already.
    """
    check_order(first, last)
    if diff and not plan:
        raise UsageError("--diff needs --plan: it only shows what would change")
    from signal_pipeline.dagster.backfill import PURGED, chosen_models, plan_backfill
    from signal_pipeline.rollups.models import load_models

    settings, models = load_settings(), load_models()
    chosen = chosen_models(models, rollup or [])
    database = open_database(settings)
    with database.connect() as connection:
        planned = plan_backfill(connection, chosen, first, last, only_stale=only_stale)
    if plan:
        _show_plan(planned, chosen, diff, as_json)
        return
    result = rebuild(settings, database, planned, list(chosen))
    show_backfill(result)
    if as_json:
        console.print_json(result.as_dict())
    # A day that the plan refused is no failure if others were built. A planned day that was not
    # built is a failure, unless it was purged meanwhile.
    failed = any(result.refused.get(day, PURGED) != PURGED for day in planned.days)
    if failed or (not result.built and (planned.days or not planned.fresh)):
        raise typer.Exit(1)


def rebuild(
    settings: Settings, database: Database, plan: BackfillPlan, rollups: list[str]
) -> BackfillResult:
    """Run a plan through Dagster, with a progress bar, and return what was built."""
    from signal_pipeline.dagster.backfill import run_backfill
    from signal_pipeline.dagster.home import open_instance
    from signal_pipeline.dagster.partitions import DAYS_PER_RUN

    with (
        open_instance(settings) as instance,
        console.progress_over_days(len(plan.days)) as progress,
    ):
        from signal_pipeline.definitions import defs

        return run_backfill(instance, defs(), database, plan, rollups, DAYS_PER_RUN, progress)


def _show_plan(plan: BackfillPlan, models: Models, diff: bool, as_json: bool) -> None:
    from signal_pipeline.dagster.backfill import BackfillResult, plan_differences
    from signal_pipeline.rollups.difference import Difference, NotComputed
    from signal_pipeline.rollups.engine import open_engine

    differences = None
    if diff:
        settings = load_settings()
        database = open_database(settings)
        with console.progress_over_days(len(plan.days)) as progress:
            differences = plan_differences(
                database, open_engine(settings, database), models, plan, progress
            )
    show_plan(plan, differences)
    if as_json:
        value = {
            **BackfillResult(refused=plan.refused).as_dict(),
            "would_build": [str(day) for day in plan.days],
        }
        if differences is not None:
            for name, kind in (("differences", Difference), ("not_computed", NotComputed)):
                value[name] = [each.as_dict() for each in differences if isinstance(each, kind)]
        console.print_json(value)
