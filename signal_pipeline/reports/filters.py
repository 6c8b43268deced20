"""Checks that each filter of a report can match an event.

Otherwise a mistyped name would read as a feature that nobody uses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import LiteralString

from signal_pipeline.catalogue.load import Catalogue
from signal_pipeline.days.calendar import day_from_text
from signal_pipeline.events.ids import (
    MAX_ENTITY_ID_CHARACTERS,
    NO_VALUE,
    is_entity_id,
    stored_spelling,
)
from signal_pipeline.events.routes import route_template
from signal_pipeline.postgres.database import Database
from signal_pipeline.reports.dimensions import KEYS
from signal_pipeline.reports.questions import refuse_total
from signal_pipeline.reports.report_errors import UnknownFilterError
from signal_pipeline.rollups.schema_yml import ALL_TYPES

# Where to look for stored events with a value that the catalogue, or a rule, no longer allows.
_STORED: Mapping[str, LiteralString] = {
    "app": "select from signal.books where app_name = %s and outcome = 'accepted' limit 1",
    "event-type": "select from signal.books where event_type = %s and outcome = 'accepted' limit 1",
    "entity-type": "select from signal.daily_entity_activity where entity_type = %s limit 1",
    "entity": "select from signal.daily_entity_activity where entity_id = %s limit 1",
    "route": "select from signal.daily_route_activity where route = %s limit 1",
}


def check_filters(
    database: Database, catalogue: Catalogue, where: Mapping[str, str], *, of_rollup: bool
) -> None:
    """Raise UnknownFilterError for a value that no event can have.

    A value passes if events with it are stored. Otherwise there is a rule for each kind of value. A
    name must be in the catalogue (retired names count), or be a class of devices, browsers or
    systems. An id must have one of the catalogue's formats. A route must be a template. The keys of
    `where` are those of `dimensions.KEYS`. Only rollups have rows of the event type `(all)`, so
    without `of_rollup` this value raises QuestionError.
    """
    if not of_rollup:
        refuse_total(where)
    for name, value in where.items():
        problem = _problem(catalogue, name, value, of_rollup)
        if problem is not None and not _is_stored(database, name, value):
            raise UnknownFilterError(problem)


def _problem(catalogue: Catalogue, name: str, value: str, of_rollup: bool) -> str | None:
    """Return why no event can have this value, as far as the catalogue and the rules know."""
    closed_list = KEYS[name].values
    if name == "day":
        return _problem_of_day(value)
    if closed_list is not None:
        known = {*closed_list(catalogue)}
        if name == "event-type" and of_rollup:
            known.add(ALL_TYPES)
        names = ", ".join(sorted(known))
        return None if value in known else f"no {name} {value!r}: choose from {names}"
    if value == NO_VALUE:
        return None
    return _problem_of_route(value) if name == "route" else _problem_of_entity(catalogue, value)


def _problem_of_day(value: str) -> str | None:
    try:
        day_from_text(value)
    except ValueError:
        return f"no day {value!r}: write YYYY-MM-DD"
    return None


def _problem_of_route(value: str) -> str | None:
    """Return a problem that does not repeat the route, which can hold an id or a token."""
    try:
        template = route_template(value)
    except ValueError as error:
        return f"no event has this route: {error}"
    if template == value:
        return None
    return f"no event has this route: routes are stored as templates, this one as {template!r}"


def _problem_of_entity(catalogue: Catalogue, value: str) -> str | None:
    formats = {each.id_format for each in catalogue.entity_types.values()}
    patterns = (re.compile(catalogue.id_formats[name]) for name in formats)
    if any(is_entity_id(stored_spelling(value), pattern) for pattern in patterns):
        return None
    return (
        f"no entity has this id: the formats of ids are {', '.join(sorted(formats))}, ids have at"
        f" most {MAX_ENTITY_ID_CHARACTERS} characters, and the nil and the max UUID are not ids"
    )


def _is_stored(database: Database, key: str, value: str) -> bool:
    if key not in _STORED:
        return False
    with database.connect() as connection:
        stored = stored_spelling(value) if key == "entity" else value
        return connection.execute(_STORED[key], [stored]).fetchone() is not None
