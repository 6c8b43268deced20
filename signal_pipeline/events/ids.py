"""Ids of events, sessions and entities: UUIDs (RFC 9562), in any version.

The nil and the max UUID (5.9, 5.10) say that there is no id. Taken for one, they would make one
event, session or entity of all that have none.
"""

from __future__ import annotations

import re

NO_IDS = frozenset({"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"})

_is_uuid = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch


def is_id(text: str) -> bool:
    """Whether a text in lower case is a UUID that names something."""
    return _is_uuid(text) is not None and text not in NO_IDS
