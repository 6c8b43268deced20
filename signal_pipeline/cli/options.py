"""The options that several commands share."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import typer

from signal_pipeline.errors import UsageError


def parse_day(text: str) -> date:
    """Parse a day as a user writes it; raises BadParameter, exit 2."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a date: write YYYY-MM-DD") from None


def parse_text(text: str) -> str:
    """Return a text that a database can hold; raises BadParameter, exit 2, if it is not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise typer.BadParameter(f"{text!r} is not UTF-8 text") from None
    return text


From = Annotated[
    date, typer.Option("--from", parser=parse_day, metavar="YYYY-MM-DD", help="First day.")
]
To = Annotated[
    date, typer.Option("--to", parser=parse_day, metavar="YYYY-MM-DD", help="Last day, inclusive.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object last on stdout.")]


def check_order(first: date, last: date) -> None:
    """Raise UsageError, exit 2, for a window that ends before it begins."""
    if first > last:
        raise UsageError(f"--from {first} is after --to {last}")
