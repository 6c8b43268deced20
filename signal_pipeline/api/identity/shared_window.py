"""The rate limit's counters in memory that the workers of one server share.

The counters are a table in a file without a name, which on Linux is in no file system. Its size is
fixed. A key has its place in one of many small buckets. In a bucket that is full, a new key takes
the place of the key with the fewest events. If the displaced key comes again, its count starts
anew. Nobody is ever refused because of somebody else.

Whoever has the secret could tell from a stored key who sent an event, and when. So that old keys do
not stay, the first event of a minute empties all places that no longer count.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.reduction import DupFd
from typing import Protocol

import numpy as np

from signal_pipeline.api.identity.rate_limit import is_full

BUCKETS = 4_096
KEYS_PER_BUCKET = 32
_KEY_BYTES = 16
# A bucket holds first all of its keys, and then the counters of each key: a minute (counted from
# 1970), the events of that minute, and the events of the minute before.
_COUNTERS = struct.Struct("=IHH")
_BUCKET_BYTES = KEYS_PER_BUCKET * (_KEY_BYTES + _COUNTERS.size)
_MINUTE = struct.Struct("=I")  # After all buckets: the minute in which old places were emptied.
_BUCKET = np.dtype(
    [
        ("keys", f"V{_KEY_BYTES}", KEYS_PER_BUCKET),
        ("counters", [("minute", "u4"), ("events", "u2", 2)], KEYS_PER_BUCKET),
    ]
)


class _SentDescriptor(Protocol):
    def detach(self) -> int: ...


class SharedWindow:
    """A table of counters, which several processes can use at once.

    It can be sent to a process that `multiprocessing` starts, which then shares the table.
    """

    def __init__(self, descriptor: _SentDescriptor | None = None) -> None:
        self._file = _new_file() if descriptor is None else descriptor.detach()
        self._table = mmap.mmap(self._file, _table_bytes())

    def __reduce__(self) -> tuple[type[SharedWindow], tuple[object]]:
        return SharedWindow, (DupFd(self._file),)

    def hit(self, key: bytes) -> int | None:
        """Count one event, and return the minute (from 1970); None if the limit is reached."""
        with self._lock():
            return self._hit(key[:_KEY_BYTES])

    def give_back(self, key: bytes, minute: int) -> None:
        """Take back one event that was counted in this minute, if its key still has a place."""
        with self._lock():
            self._give_back(key[:_KEY_BYTES], minute)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        # The kernel releases this lock even if the process is killed.
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _hit(self, key: bytes) -> int | None:
        minutes, second = divmod(time.time(), 60)
        minute = int(minutes)
        self._empty_old_places(minute)
        at = self._counters_of(key, minute)
        counted, this_minute, last_minute = _COUNTERS.unpack_from(self._table, at)
        if counted != minute:
            last_minute = this_minute if counted == minute - 1 else 0
            this_minute = 0
        if is_full(last_minute, this_minute, second):
            return None
        _COUNTERS.pack_into(self._table, at, minute, this_minute + 1, last_minute)
        return minute

    def _give_back(self, key: bytes, minute: int) -> None:
        at = self._place_of(key)
        if at is None:
            return
        counted, this_minute, last_minute = _COUNTERS.unpack_from(self._table, at)
        # The key can have lost its place and found a new one: its count can then be zero.
        if counted == minute and this_minute:
            this_minute -= 1
        elif counted == minute + 1 and last_minute:
            last_minute -= 1
        _COUNTERS.pack_into(self._table, at, counted, this_minute, last_minute)

    def _empty_old_places(self, minute: int) -> None:
        end = BUCKETS * _BUCKET_BYTES
        if _MINUTE.unpack_from(self._table, end) == (minute,):
            return
        buckets = np.frombuffer(self._table, _BUCKET, BUCKETS)
        counted = buckets["counters"]["minute"]
        # A place of a later minute is old too: it is from before the clock was set back, and no
        # longer counts.
        old = (counted != minute) & (counted != minute - 1)
        buckets["counters"][old] = 0
        buckets["keys"][old] = b""
        _MINUTE.pack_into(self._table, end, minute)

    def _place_of(self, key: bytes) -> int | None:
        """Return where the counters of a key are, or None if it has no place."""
        start, counters = _bucket_of(key)
        found = self._table.find(key, start, counters)
        # A match that begins in one key and ends in the next is as unlikely as two equal keys.
        return None if found < 0 else counters + (found - start) // _KEY_BYTES * _COUNTERS.size

    def _counters_of(self, key: bytes, minute: int) -> int:
        """Return where the counters of a key are, after giving it a place if it has none."""
        found = self._place_of(key)
        if found is not None:
            return found
        start, counters = _bucket_of(key)
        place = min(range(KEYS_PER_BUCKET), key=lambda n: self._events(counters, n, minute))
        free, at = counters + place * _COUNTERS.size, start + place * _KEY_BYTES
        # In this order: if the process is killed in between, nobody gets another person's count.
        _COUNTERS.pack_into(self._table, free, 0, 0, 0)
        self._table[at : at + _KEY_BYTES] = key
        return free

    def _events(self, counters: int, place: int, minute: int) -> int:
        """Return the events that still count at a place."""
        counted, this_minute, last_minute = _COUNTERS.unpack_from(
            self._table, counters + place * _COUNTERS.size
        )
        if counted < minute - 1:
            return 0
        return int(this_minute) + (int(last_minute) if counted == minute else 0)


def _bucket_of(key: bytes) -> tuple[int, int]:
    """Return where the keys of a key's bucket begin, and where its counters begin."""
    start = int.from_bytes(key[:4]) % BUCKETS * _BUCKET_BYTES
    return start, start + KEYS_PER_BUCKET * _KEY_BYTES


def _new_file() -> int:
    """Return the descriptor of a file without a name, in memory where the system can do that."""
    if sys.platform == "linux":
        descriptor = os.memfd_create("signal-rate-limit")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.truncate(descriptor, _table_bytes())
    return descriptor


def _table_bytes() -> int:
    return BUCKETS * _BUCKET_BYTES + _MINUTE.size
