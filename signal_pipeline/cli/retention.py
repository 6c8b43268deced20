"""The command `retention`."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import typer

from signal_pipeline.cli import console
from signal_pipeline.cli.options import Day, Json, parse_day, parse_text
from signal_pipeline.cli.show import confirm_advice, show_purged
from signal_pipeline.errors import SignalError, UsageError
from signal_pipeline.postgres.database import open_database
from signal_pipeline.settings import FIRST_START_DATE, load_settings


def retention(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Prove, but delete nothing.")] = False,
    as_of: Day = None,
    incomplete_day: Annotated[
        date | None,
        typer.Option(
            "--purge-incomplete",
            parser=parse_day,
            metavar="YYYY-MM-DD",
            help="Delete this one day, although its rollups are not proven complete.",
        ),
    ] = None,
    reason: Annotated[
        str, typer.Option(parser=parse_text, metavar="TEXT", help="Why an unproven day is deleted.")
    ] = "",
    confirm_days: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Delete the raw days that only the clock says are due, if there are at most N.",
        ),
    ] = 0,
    as_json: Json = False,
) -> None:
    """Delete raw days past their retention, each after its rollups are proven complete.

    A day can be past its retention by the clock alone, if too few later dates have left a sign in
    the database. Such a day is kept unless you confirm it.
    """
    from signal_pipeline.privacy.audit_log import operator
    from signal_pipeline.privacy.retention import (
        DueByClockError,
        RetentionError,
        check_as_of,
        purge_due_days,
        purge_incomplete,
    )
    from signal_pipeline.rollups.models import load_models

    if as_of and as_of < FIRST_START_DATE:
        raise UsageError(f"--as-of {as_of} is before {FIRST_START_DATE}: no day can be older")
    try:
        check_as_of(as_of, dry_run=dry_run)
    except RetentionError:
        raise UsageError(f"--as-of {as_of} is after today: that needs --dry-run") from None
    if incomplete_day and not reason.strip():
        raise UsageError("--purge-incomplete needs --reason TEXT")
    if reason and not incomplete_day:
        raise UsageError("--reason is for --purge-incomplete YYYY-MM-DD, which is missing")
    if incomplete_day and (dry_run or as_of or confirm_days):
        raise UsageError(
            "--purge-incomplete deletes that day now: it cannot be combined with --dry-run, --as-of"
            " or --confirm-days"
        )
    settings, models = load_settings(), load_models()
    database, actor = open_database(settings), operator(settings)
    keep = settings.retention_days
    if incomplete_day:
        try:
            result = purge_incomplete(database, models, incomplete_day, reason, keep, actor=actor)
        except DueByClockError as error:
            raise SignalError(f"{error}{confirm_advice(error.refusal)}") from None
    else:
        result = purge_due_days(
            database,
            models,
            keep,
            as_of=as_of,
            dry_run=dry_run,
            confirm_days=confirm_days,
            actor=actor,
        )
    show_purged(result)
    if as_json:
        console.print_json(result.as_dict())
    if result.fault:
        raise SignalError(result.fault)
    if result.refusal and not dry_run:
        raise SignalError(f"{result.refusal.reason}{confirm_advice(result.refusal)}")
