"""Events as rows of PostgreSQL's binary COPY format.

numpy lays out the columns of fixed length (ids, times, hashes) for a whole batch at once. Words of
the catalogue are encoded once and cached. A generic writer costs three times as much per event.
"""

from __future__ import annotations

import os
from binascii import unhexlify
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache, lru_cache
from struct import Struct

import numpy as np
import numpy.typing as npt

from signal_pipeline.events.event import AcceptedEvent
from signal_pipeline.postgres.copy_format import (
    EPOCH,
    EPOCH_UNIX_MICROSECONDS,
    HEADER,
    NULL,
    TRAILER,
)

EVENT_COLUMNS = (
    "id",
    "created_at",
    "client_event_id",
    "user_hash",
    "app_name",
    "event_type",
    "route",
    "entity_type",
    "entity_id",
    "session_id",
    "device_type",
    "browser_family",
    "os_family",
    "description",
)

_length = Struct(">i").pack
_UUID_LENGTH = _length(16)
_JSONB_VERSION = b"\x01"
_MICROSECOND = timedelta(microseconds=1)
_EPOCH_UNIX_MS = EPOCH_UNIX_MICROSECONDS // 1000
_UUID_FIXED = 0xF << 76 | 0x3 << 62  # Version and variant.
_UUID_VERSION_7 = 0x7 << 76 | 0x2 << 62

Bytes = npt.NDArray[np.uint8]

# The number of fields, then the length and the bytes of each; numbers are in network byte order.
_EVENT_HEAD = np.dtype(
    [
        ("fields", ">i2"),
        ("len1", ">i4"),
        ("id", "u1", 16),
        ("len2", ">i4"),
        ("created_at", ">i8"),
        ("len3", ">i4"),
        ("client_event_id", "u1", 16),
        ("len4", ">i4"),
        ("user_hash", "u1", 32),
    ]
)


def event_rows(events: Sequence[AcceptedEvent]) -> list[bytes]:
    """Return the events as rows of binary COPY, with the columns `EVENT_COLUMNS`.

    An event without an id gets a new one. `copy_data` turns rows into the data of one COPY.
    """
    text, uuid = cache(_text), cache(_uuid)  # Entities and sessions repeat in a batch.
    rows = []
    for event, head in zip(events, _heads(events), strict=True):
        description = event.description
        row = (
            head,
            _words(event.app_name, event.event_type, event.route, event.entity_type),
            text(event.entity_id),
            uuid(event.session_id),
            _words(event.device_type, event.browser_family, event.os_family),
            NULL if description is None else _with_length(_JSONB_VERSION + description),
        )
        rows.append(b"".join(row))
    return rows


def copy_data(rows: Iterable[bytes]) -> bytes:
    """Return the rows as the complete data of one COPY."""
    return b"".join((HEADER, *rows, TRAILER))


def event_ids(times: npt.NDArray[np.int64]) -> Bytes:
    """Return UUIDs of version 7 (RFC 9562), one per row of 16 bytes.

    `times` are in microseconds since 2000-01-01 UTC.
    """
    ids = np.frombuffer(os.urandom(16 * len(times)), dtype=np.uint8).reshape(-1, 16).copy()
    milliseconds = (times // 1000 + _EPOCH_UNIX_MS).astype(">u8")
    ids[:, :6] = milliseconds.view(np.uint8).reshape(-1, 8)[:, 2:]
    ids[:, 6] = ids[:, 6] & 0x0F | 0x70
    ids[:, 8] = ids[:, 8] & 0x3F | 0x80
    return ids


def new_event_id(at: datetime) -> bytes:
    """Return one UUID of version 7 for an aware time, as 16 bytes.

    `event_ids` does the same, but is slow for a single id.
    """
    milliseconds = _microseconds(at) // 1000 + _EPOCH_UNIX_MS
    number = milliseconds << 80 | int.from_bytes(os.urandom(10), "big")
    return (number & ~_UUID_FIXED | _UUID_VERSION_7).to_bytes(16, "big")


def _microseconds(at: datetime) -> int:
    return (at - EPOCH) // _MICROSECOND


def _heads(events: Sequence[AcceptedEvent]) -> Iterable[bytes]:
    """Return the start of each row, up to the user hash: these columns have a fixed length."""
    times = np.array([_microseconds(event.created_at) for event in events], dtype=np.int64)
    heads = np.empty(len(events), dtype=_EVENT_HEAD)
    heads["fields"] = len(EVENT_COLUMNS)
    heads["len1"], heads["len2"], heads["len3"], heads["len4"] = 16, 8, 16, 32
    heads["id"] = event_ids(times)
    for position, event in enumerate(events):
        if event.id is not None:  # The caller knows this id already.
            heads["id"][position] = np.frombuffer(event.id, dtype=np.uint8)
    heads["created_at"] = times
    heads["client_event_id"] = _uuids([event.client_event_id for event in events])
    hashes = b"".join([event.user_hash for event in events])
    heads["user_hash"] = np.frombuffer(hashes, dtype=np.uint8).reshape(-1, 32)
    data, size = heads.tobytes(), heads.itemsize
    return (data[at : at + size] for at in range(0, len(data), size))


def _uuids(texts: list[str]) -> Bytes:
    """Return UUIDs as rows of 16 bytes."""
    data = unhexlify("".join(texts).encode().translate(None, b"-"))
    return np.frombuffer(data, dtype=np.uint8).reshape(-1, 16)


@lru_cache(maxsize=8192)
def _words(*values: str | None) -> bytes:
    # The cache holds words of the catalogue, buckets and route templates, nothing about a person.
    return b"".join(map(_text, values))


def _text(value: str | None) -> bytes:
    return NULL if value is None else _with_length(value.encode())


def _uuid(value: str | None) -> bytes:
    return NULL if value is None else _UUID_LENGTH + bytes.fromhex(value.replace("-", ""))


def _with_length(value: bytes) -> bytes:
    return _length(len(value)) + value
