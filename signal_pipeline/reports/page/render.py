"""Fills the template of the page. Every text is escaped: whoever sends events writes some of it."""

from __future__ import annotations

from base64 import b64encode
from datetime import date, timedelta
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from signal_pipeline.catalogue.load import Catalogue
from signal_pipeline.postgres.database import Database
from signal_pipeline.reports.page import numbers, received, sections, trust
from signal_pipeline.reports.page.csv_links import csv_link
from signal_pipeline.reports.page.drawing import check_drawing, draw
from signal_pipeline.reports.page.facts import Facts, read_facts
from signal_pipeline.rollups.models import Models
from signal_pipeline.texts.printable import printable


def usage_page(
    database: Database,
    models: Models,
    catalogue: Catalogue,
    first: date,
    last: date,
    *,
    app: str | None = None,
    for_admins: bool = False,
) -> str:
    """Return the page of the UTC days `first` to `last`, inclusive, as one HTML file.

    `for_admins` shows entities and small cells. Raises WindowError, QuestionError,
    MissingExtraError, NotMigratedError, DatabaseError.
    """
    check_drawing()
    facts = read_facts(database, models, first, last, app=app, for_admins=for_admins)
    return render(facts, catalogue)


def render(facts: Facts, catalogue: Catalogue) -> str:
    """Return the page of these facts."""
    style = _text("page.css")
    doubts = trust.doubts(facts.splits)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    return (
        _environment()
        .from_string(_text("page.html"))
        .render(
            title=f"How {facts.app} is used" if facts.app else "How the apps are used",
            span=f"{facts.first} to {facts.last} (UTC)",
            days_text=numbers.days((facts.last - facts.first).days + 1),
            after_last=facts.last + timedelta(days=1),
            version=version("signal-pipeline"),
            style=Markup(style),  # noqa: S704 - our own file
            style_hash=Markup(f"sha256-{digest}"),  # noqa: S704 - a digest
            facts=facts,
            parts=sections.app_parts(facts, catalogue),
            drops=received.drops(facts),
            books=received.books(facts),
            doubts=doubts,
            legend=trust.legend(doubts),
        )
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        finalize=_finalize,
    )
    environment.filters |= {"csv_link": csv_link, "long_date": numbers.long_date}
    environment.globals["draw"] = _draw
    return environment


def _finalize(value: Any) -> Any:
    """Show control characters, and marks that turn the direction of writing, as text.

    By Python's rule, the thin space of our own numbers is not printable; it stays all the same.
    """
    if isinstance(value, str) and not isinstance(value, Markup):
        return numbers.THIN_SPACE.join(map(printable, value.split(numbers.THIN_SPACE)))
    return value


def _draw(spec: dict[str, Any], label: str) -> Markup:
    return Markup(draw(spec, label))  # noqa: S704 - shapes and escaped text alone: see `draw`


def _text(name: str) -> str:
    return (files(__package__) / "templates" / name).read_text(encoding="utf-8")
