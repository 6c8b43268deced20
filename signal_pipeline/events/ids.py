"""Ids of events and sessions, which are UUIDs (RFC 9562) of any version, and of entities.

The nil and the max UUID (RFC 9562, sections 5.9 and 5.10) mean that there is no id. If they counted
as ids, all events, sessions or entities without an id would become one.
"""

from __future__ import annotations

import re

NO_VALUE = "(none)"  # What reports and rollups show for a missing route or entity.
MAX_ENTITY_ID_CHARACTERS = 256  # An entry of PostgreSQL's index has at most 2,704 bytes.
NO_IDS = frozenset({"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"})

_is_uuid = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch


def stored_spelling(text: str) -> str:
    """Return an id as Signal stores it: a UUID in lower case, any other text as it is.

    Ids of other kinds can differ only in capitals. The rule looks at the text alone and not at a
    format, because a filter can name an id without its entity type.
    """
    lowered = text.lower()
    return lowered if _is_uuid(lowered) else text


def former_spelling(text: str) -> str | None:
    """Return the id under which earlier versions stored an entity, or None if it is the same.

    They stored every id in lower case, so ids that differ only in capitals became one.
    """
    lowered = text.lower()
    return None if lowered == stored_spelling(text) else lowered


def is_id(text: str) -> bool:
    """Return whether a lower-case text is a UUID other than the nil and the max UUID."""
    return _is_uuid(text) is not None and text not in NO_IDS


def is_entity_id(text: str, id_format: re.Pattern[str]) -> bool:
    """Return whether an id, in its `stored_spelling`, is one of the catalogue's `id_format`."""
    return can_be_entity_id(text) and id_format.fullmatch(text) is not None


def can_be_entity_id(text: str) -> bool:
    """Return whether an id, in its `stored_spelling`, is an entity id in some format.

    Whatever the format says, it is no id if it is empty, is too long for an index, has characters
    that cannot be printed, or means that there is no id.
    """
    return (
        0 < len(text) <= MAX_ENTITY_ID_CHARACTERS
        and text.isprintable()
        and text not in NO_IDS
        and text.lower() != NO_VALUE  # A reader would take "(None)" for a missing id too.
    )
