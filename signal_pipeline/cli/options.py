"""The options that several commands share, and the windows of days that they name."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Annotated

import typer

from signal_pipeline.days.calendar import WindowError, check_window, day_from_text
from signal_pipeline.errors import UsageError
from signal_pipeline.settings import MAX_DAYS

_SPAN = re.compile(r"([0-9]+)([dw])")
_DAYS_OF = {"d": 1, "w": 7}


def parse_day(text: str) -> date:
    """Parse a day as a user writes it; raises BadParameter, exit 2."""
    try:
        return day_from_text(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a date: write YYYY-MM-DD") from None


def parse_span(text: str) -> int:
    """Parse a span such as `30d` or `4w` to a number of days; raises UsageError, exit 2.

    A week is seven days. Months have no unit because they differ in length.
    """
    found = _SPAN.fullmatch(text)
    if found is None:
        raise UsageError(f"--last {text!r}: write a number of days or weeks, such as 30d or 4w")
    # Python refuses to convert very long numbers, so they are not even tried.
    days = int(found[1]) * _DAYS_OF[found[2]] if len(found[1]) <= len(str(MAX_DAYS)) else 0
    if not 1 <= days <= MAX_DAYS:
        raise UsageError(f"--last {text!r}: from 1 to {MAX_DAYS} days are possible")
    return days


def parse_text(text: str) -> str:
    """Return a text that a database can hold; raises BadParameter, exit 2, if it is not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise typer.BadParameter(f"{text!r} is not UTF-8 text") from None
    return text


Day = Annotated[date | None, typer.Option(parser=parse_day, metavar="YYYY-MM-DD")]
_FROM = typer.Option("--from", parser=parse_day, metavar="YYYY-MM-DD", help="First day.")
_TO = typer.Option("--to", parser=parse_day, metavar="YYYY-MM-DD", help="Last day, inclusive.")
From = Annotated[date, _FROM]
To = Annotated[date, _TO]
OptionalFrom = Annotated[date | None, _FROM]
OptionalTo = Annotated[date | None, _TO]
Last = Annotated[
    int | None,
    typer.Option(
        "--last",
        parser=parse_span,
        metavar="Nd|Nw",
        help="Instead of --from and --to: the N days or weeks before today (UTC).",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object last on stdout.")]


def check_order(first: date, last: date) -> None:
    """Raise UsageError, exit 2, for a window that ends before it begins."""
    try:
        check_window(first, last)
    except WindowError:
        raise UsageError(f"--from {first} is after --to {last}") from None


def chosen_days(
    first: date | None, last: date | None, span: int | None, today: date
) -> tuple[date, date]:
    """Return the first and the last day that the options name, both inclusive.

    A span ends with yesterday, because today is not over. Raises UsageError, exit 2, unless the
    options name one window.
    """
    if span is not None:
        if first is not None or last is not None:
            raise UsageError("--last cannot be combined with --from or --to: it sets both of them")
        return today - timedelta(days=span), today - timedelta(days=1)
    if first is None or last is None:
        raise UsageError("name the days: --from and --to, or --last such as 30d")
    check_order(first, last)
    return first, last
