"""Checks that each filter of a report can match an event.

Otherwise a mistyped name would read as a feature that nobody uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import LiteralString

from signal_pipeline.catalogue.load import Catalogue
from signal_pipeline.days.calendar import day_from_text
from signal_pipeline.postgres.database import Database
from signal_pipeline.reports.dimensions import KEYS
from signal_pipeline.reports.report_errors import UnknownFilterError
from signal_pipeline.rollups.schema_yml import ALL_TYPES

# Where to look for stored events with a name that is no longer in the catalogue.
_STORED: Mapping[str, LiteralString] = {
    "app": "select from signal.books where app_name = %s and outcome = 'accepted' limit 1",
    "event-type": "select from signal.books where event_type = %s and outcome = 'accepted' limit 1",
    "entity-type": "select from signal.daily_entity_activity where entity_type = %s limit 1",
}


def check_filters(
    database: Database, catalogue: Catalogue, where: Mapping[str, str], *, of_rollup: bool
) -> None:
    """Raise UnknownFilterError for a value that no event can have.

    A name must be in the catalogue, retired ones included, or stored. Keys are those of
    `dimensions.KEYS`. Only rollups have rows of the event type `(all)`; raw events of every type
    count if there is no filter.
    """
    for name, value in where.items():
        if name == "day":
            _check_day(value)
            continue
        known = _known_values(catalogue, name, of_rollup)
        if known and value not in known and not _is_stored(database, name, value):
            raise UnknownFilterError(f"no {name} {value!r}: choose from {', '.join(sorted(known))}")


def _known_values(catalogue: Catalogue, name: str, of_rollup: bool) -> set[str]:
    """Return all values of a key, or an empty set if they are not a closed list."""
    closed_list = KEYS[name].values
    known = set(closed_list(catalogue)) if closed_list else set[str]()
    return known | {ALL_TYPES} if name == "event-type" and of_rollup else known


def _check_day(value: str) -> None:
    try:
        day_from_text(value)
    except ValueError:
        raise UnknownFilterError(f"no day {value!r}: write YYYY-MM-DD") from None


def _is_stored(database: Database, key: str, value: str) -> bool:
    if key not in _STORED:
        return False
    with database.connect() as connection:
        return connection.execute(_STORED[key], [value]).fetchone() is not None
