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


def is_id(text: str) -> bool:
    """Return whether a lower-case text is a UUID other than the nil and the max UUID."""
    return _is_uuid(text) is not None and text not in NO_IDS


def is_entity_id(text: str, id_format: re.Pattern[str]) -> bool:
    """Return whether a lower-case text is an id of the catalogue's format `id_format`."""
    return can_be_entity_id(text) and id_format.fullmatch(text) is not None


def can_be_entity_id(text: str) -> bool:
    """Return whether a lower-case text is an entity id in some format.

    Whatever the format says, it is no id if it is empty, is too long for an index, has characters
    that cannot be printed, or means that there is no id.
    """
    return (
        0 < len(text) <= MAX_ENTITY_ID_CHARACTERS
        and text.isprintable()
        and text not in NO_IDS
        and text != NO_VALUE
    )
