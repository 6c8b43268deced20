"""The command `report`: asks rollups or raw events, and refuses options that do not go together."""

from __future__ import annotations

import sys
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from signal_pipeline.cli import console
from signal_pipeline.cli.completion import (
    complete_app,
    complete_event_type,
    complete_filter,
    complete_keys,
    complete_rollup_kind,
)
from signal_pipeline.cli.options import Last, OptionalFrom, OptionalTo, chosen_days, parse_text
from signal_pipeline.cli.show import show_report
from signal_pipeline.days.calendar import today_utc
from signal_pipeline.errors import SignalError, UsageError
from signal_pipeline.postgres.database import open_database
from signal_pipeline.settings import load_settings

if TYPE_CHECKING:  # Imported only when the command runs.
    from signal_pipeline.reports.report import Report


class ReportFileError(SignalError):
    """A page cannot be written where it was asked for."""


class Period(StrEnum):
    """The span that each row of a report covers."""

    day = "day"
    week = "week"
    total = "total"


class Format(StrEnum):
    """The form in which a report is printed."""

    table = "table"
    csv = "csv"
    json = "json"
    html = "html"


def report(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="app|device|route|entity|browser|os", autocompletion=complete_rollup_kind
        ),
    ] = None,
    first: OptionalFrom = None,
    last: OptionalTo = None,
    span: Last = None,
    by: Annotated[
        Period | None, typer.Option(help="The span of a rollup's rows; default day.")
    ] = None,
    app_name: Annotated[
        str | None,
        typer.Option("--app", parser=parse_text, metavar="TEXT", autocompletion=complete_app),
    ] = None,
    event_type: Annotated[
        str | None,
        typer.Option(
            "--event-type", parser=parse_text, metavar="TEXT", autocompletion=complete_event_type
        ),
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            metavar="K,...",
            help="Count raw events exactly by these keys.",
            autocompletion=complete_keys,
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            parser=parse_text,
            metavar="K=V",
            help="With --group-by: count only such events.",
            autocompletion=complete_filter,
        ),
    ] = None,
    hide_small: Annotated[
        bool, typer.Option("--hide-small", help="Leave out what analysts are not allowed to see.")
    ] = False,
    output: Annotated[
        Format, typer.Option("--format", help="html: one page of every rollup.")
    ] = Format.table,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="With html: the file, made with mode 0600."),
    ] = None,
    for_admins: Annotated[
        bool, typer.Option("--for-admins", help="With html: show entities and small cells too.")
    ] = False,
) -> None:
    """Print aggregates: from a rollup over any days, or with --group-by exactly from raw events.

    If some of the days are purged, a rollup answers --group-by where it can, but not with
    --hide-small. With --format html, write one page of every rollup. The page has small cells only
    with --for-admins.
    """
    first_day, last_day = chosen_days(first, last, span, today_utc())
    if output is Format.html:
        _refuse_beside_html(
            {
                f"the rollup {kind!r}": kind,
                "--by": by,
                "--event-type": event_type,
                "--group-by": group_by,
                "--where": where,
            }
        )
        if hide_small and for_admins:
            raise UsageError("--hide-small and --for-admins contradict each other")
        _write_page(first_day, last_day, app_name, out, for_admins=for_admins)
        return
    if out or for_admins:
        raise UsageError("--out and --for-admins go with --format html")
    result = _answer(
        kind,
        first_day,
        last_day,
        by=by,
        app_name=app_name,
        event_type=event_type,
        group_by=group_by,
        where=where or [],
        hide_small=hide_small,
    )
    show_report(result, output.value)
    if span is not None:
        console.say(f"note: from {first_day} to {last_day} (UTC)")


def _answer(
    kind: str | None,
    first: date,
    last: date,
    *,
    by: Period | None,
    app_name: str | None,
    event_type: str | None,
    group_by: str | None,
    where: list[str],
    hide_small: bool,
) -> Report:
    """Return the rows of a rollup, or with `group_by` the counts by its keys.

    Raises UsageError for options that do not go together.
    """
    from signal_pipeline.catalogue.load import load_catalogue
    from signal_pipeline.reports.dimensions import (
        find_keys,
        rollup_kinds,
        rollup_name,
        values_by_key,
    )
    from signal_pipeline.reports.filters import check_filters
    from signal_pipeline.reports.grouped_report import grouped_report
    from signal_pipeline.reports.of_raw_events import raw_report
    from signal_pipeline.reports.of_rollups import rollup_report
    from signal_pipeline.rollups.models import load_models

    if (kind is None) == (group_by is None):
        raise UsageError("name either a rollup (app, device, route, ...) or --group-by")
    if kind and where:
        raise UsageError("--where needs --group-by: a rollup takes --app and --event-type")
    if group_by and by:
        raise UsageError(f"--by {by} needs a rollup: with --group-by, put day among the keys")
    options = [("app", app_name), ("event-type", event_type)]
    filters = values_by_key(
        [*map(_pair, where), *((key, value) for key, value in options if value is not None)]
    )
    keys = [key.name for key in find_keys(group_by.split(","))] if group_by is not None else []
    settings, models = load_settings(), load_models()
    if kind and rollup_name(kind) not in models:
        raise UsageError(f"no rollup for {kind!r}: choose from {', '.join(rollup_kinds(models))}")
    database = open_database(settings)
    check_filters(database, load_catalogue(settings.catalogue), filters, of_rollup=kind is not None)
    if kind:
        return rollup_report(
            database,
            models,
            kind,
            first,
            last,
            by=(by or Period.day).value,
            app=app_name,
            event_type=event_type,
            hide_small=hide_small,
        )
    if hide_small:
        return raw_report(database, keys, filters, first, last, hide_small=True)
    return grouped_report(database, models, keys, filters, first, last)


def _refuse_beside_html(options: dict[str, object]) -> None:
    for name, value in options.items():
        if value:
            raise UsageError(f"{name} does not go with --format html, a page of every rollup")


def _write_page(
    first: date, last: date, app_name: str | None, out: Path | None, *, for_admins: bool
) -> None:
    from signal_pipeline.catalogue.load import load_catalogue
    from signal_pipeline.reports.filters import check_filters
    from signal_pipeline.reports.page.render import usage_page
    from signal_pipeline.rollups.models import load_models
    from signal_pipeline.system.private_files import write_private

    if out is None and sys.stdout.isatty():
        raise UsageError("a page is not for a terminal: name a file with --out")
    settings = load_settings()
    database, catalogue = open_database(settings), load_catalogue(settings.catalogue)
    if app_name is not None:
        check_filters(database, catalogue, {"app": app_name}, of_rollup=True)
    html = usage_page(
        database, load_models(), catalogue, first, last, app=app_name, for_admins=for_admins
    )
    if out is None:
        sys.stdout.buffer.write(html.encode())
        return
    try:
        write_private(out, html)
    except OSError as error:
        raise ReportFileError(f"{out}: cannot be written: {error.strerror}") from None
    console.say(f"written: {out}")


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--where takes KEY=VALUE, not {text!r}")
    return key, value
