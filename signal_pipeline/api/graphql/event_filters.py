"""Turns the filters of a query into values that PostgreSQL can compare with."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import strawberry

from signal_pipeline.api.refusals import bad_input
from signal_pipeline.events.ids import stored_spelling

IDS = ("entity_id", "session_id")


def filter_fields(event_filter: object | None) -> dict[str, Any]:
    """Return the fields of a filter that were sent and are not null, by their Python names."""
    if event_filter is None or event_filter is strawberry.UNSET:
        return {}
    return without_nulls(vars(event_filter))


def without_nulls(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that were sent and are not null.

    An empty text is a value too, and not the same as no filter.
    """
    return {
        name: value
        for name, value in fields.items()
        if value is not None and value is not strawberry.UNSET
    }


def text_filters(fields: Mapping[str, object], names: Collection[str]) -> dict[str, str]:
    """Return the fields that are compared with a text column.

    Raises ApiError for a text that no column can hold.
    """
    filters = {}
    for name in names:
        if name in fields:
            text = str(fields[name])
            if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
                raise bad_input("a filter holds a character that no event can hold")
            filters[name] = stored_spelling(text) if name in IDS else text
    return filters
