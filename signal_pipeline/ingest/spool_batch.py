"""What a file of the spool holds: a batch of checked events and drops, as msgpack."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec

from signal_pipeline.events.browsers import HASH_RULES
from signal_pipeline.events.event import AcceptedEvent, Drop


class SpooledBatch(msgspec.Struct):
    """One file: a batch's events and drops, the id of the secret that hashed them, and the rules.

    `hash_rules` is the version of HASH_RULES. Servers that knew only version 1 did not write it.
    """

    key_id: str
    events: list[AcceptedEvent]
    drops: list[Drop]
    hash_rules: int = 1


# What `decode` raises. ValueError is for texts that are not UTF-8.
NOT_A_BATCH = (msgspec.MsgspecError, ValueError)
decode = msgspec.msgpack.Decoder(SpooledBatch).decode


def encode(
    items: Sequence[AcceptedEvent | Drop], key_id: str, hash_rules: int = HASH_RULES
) -> bytes:
    """Return the content of a file with these items."""
    events = [item for item in items if isinstance(item, AcceptedEvent)]
    drops = [item for item in items if isinstance(item, Drop)]
    return msgspec.msgpack.encode(SpooledBatch(key_id, events, drops, hash_rules))


def first_day(path: Path) -> date:
    """Return the earliest UTC day in a file, or the day it was written if it is not a batch.

    Raises OSError for a file that cannot be read.
    """
    with suppress(*NOT_A_BATCH):
        batch = decode(path.read_bytes())
        if days := [*(event.day for event in batch.events), *(drop.day for drop in batch.drops)]:
            return min(days)
    return written_on(path)


def written_on(path: Path) -> date:
    """Return the UTC day on which a file was last written. Raises OSError."""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).date()
