"""Ids of events, sessions and entities: UUIDs (RFC 9562), in any version.

The nil and the max UUID (RFC 9562, sections 5.9 and 5.10) mean that there is no id. If they counted
as ids, all events, sessions or entities without an id would become one.
"""

from __future__ import annotations

import re

NO_VALUE = "(none)"  # What reports and rollups show for a missing route or entity.
NO_IDS = frozenset({"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"})

_is_uuid = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch


def is_id(text: str) -> bool:
    """Return whether a lower-case text is a UUID other than the nil and the max UUID."""
    return _is_uuid(text) is not None and text not in NO_IDS
