"""The command `report`: asks rollups or raw events, and refuses options that do not go together."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

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
from signal_pipeline.errors import UsageError
from signal_pipeline.postgres.database import open_database
from signal_pipeline.settings import load_settings


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
    output: Annotated[Format, typer.Option("--format")] = Format.table,
) -> None:
    """Print aggregates: from a rollup over any days, or with --group-by exactly from raw events."""
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

    first_day, last_day = chosen_days(first, last, span, today_utc())
    if (kind is None) == (group_by is None):
        raise UsageError("name either a rollup (app, device, route, ...) or --group-by")
    if kind and where:
        raise UsageError("--where needs --group-by: a rollup takes --app and --event-type")
    if group_by and by:
        raise UsageError(f"--by {by} needs a rollup: with --group-by, put day among the keys")
    options = [("app", app_name), ("event-type", event_type)]
    filters = values_by_key(
        [*map(_pair, where or []), *((key, value) for key, value in options if value is not None)]
    )
    keys = [key.name for key in find_keys(group_by.split(","))] if group_by is not None else []
    settings, models = load_settings(), load_models()
    if kind and rollup_name(kind) not in models:
        raise UsageError(f"no rollup for {kind!r}: choose from {', '.join(rollup_kinds(models))}")
    database = open_database(settings)
    check_filters(database, load_catalogue(settings.catalogue), filters, of_rollup=kind is not None)
    if kind:
        result = rollup_report(
            database,
            models,
            kind,
            first_day,
            last_day,
            by=(by or Period.day).value,
            app=app_name,
            event_type=event_type,
            hide_small=hide_small,
        )
    elif hide_small:
        result = raw_report(database, keys, filters, first_day, last_day, hide_small=True)
    else:
        result = grouped_report(database, models, keys, filters, first_day, last_day)
    show_report(result, output.value)
    if span is not None:
        console.say(f"note: from {first_day} to {last_day} (UTC)")


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--where takes KEY=VALUE, not {text!r}")
    return key, value
