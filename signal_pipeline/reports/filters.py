"""Checks that each filter of a report can match an event.

Otherwise a mistyped name would read as a feature that nobody uses.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from typing import LiteralString

from signal_pipeline.catalogue.load import Catalogue
from signal_pipeline.errors import UsageError
from signal_pipeline.events.browsers import BROWSER_FAMILIES, OS_FAMILIES
from signal_pipeline.events.devices import DEVICE_TYPES
from signal_pipeline.postgres.database import Database
from signal_pipeline.reports.of_rollups import ALL_TYPES, NONE, ReportError

# Where to look for names that the catalogue lost after events came with them.
_STORED: Mapping[str, LiteralString] = {
    "app": "select from signal.books where app_name = %s and outcome = 'accepted' limit 1",
    "event-type": "select from signal.books where event_type = %s and outcome = 'accepted' limit 1",
    "entity-type": "select from signal.daily_entity_activity where entity_type = %s limit 1",
}


class UnknownFilterError(ReportError, UsageError):
    """A filter has a value that no event can have."""


def check_filters(
    database: Database, catalogue: Catalogue, where: Mapping[str, str], *, of_rollup: bool
) -> None:
    """Raise UnknownFilterError for a value that no event can have.

    A name must be in the catalogue, retired ones included, or stored. Keys are those of
    `dimensions.KEYS`. Only rollups have rows of the event type `(all)`; raw events of every type
    count if there is no filter.
    """
    known: Mapping[str, Collection[str]] = {
        "app": catalogue.apps,
        "event-type": [*catalogue.event_types, *([ALL_TYPES] if of_rollup else [])],
        "entity-type": [*catalogue.entity_types, NONE],
        "device": DEVICE_TYPES,
        "browser": BROWSER_FAMILIES,
        "os": OS_FAMILIES,
    }
    for key, value in where.items():
        if key == "day":
            _check_day(value)
        elif key in known and value not in known[key] and not _is_stored(database, key, value):
            raise UnknownFilterError(
                f"no {key} {value!r}: choose from {', '.join(sorted(known[key]))}"
            )


def _check_day(value: str) -> None:
    try:
        date.fromisoformat(value)
    except ValueError:
        raise UnknownFilterError(f"no day {value!r}: write YYYY-MM-DD") from None


def _is_stored(database: Database, key: str, value: str) -> bool:
    if key not in _STORED:
        return False
    with database.connect() as connection:
        return connection.execute(_STORED[key], [value]).fetchone() is not None
