"""PostgreSQL's binary COPY format, as "Binary Format" in its documentation of COPY describes it.

The data is a header, the rows, and a trailer. A row is the number of its fields, then the length
and the bytes of each field. Numbers are in network byte order. Times count from 2000-01-01 UTC, in
microseconds or days.
"""

from __future__ import annotations

from datetime import UTC, datetime

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
NULL = b"\xff\xff\xff\xff"  # The length -1, and no bytes.
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
EPOCH_UNIX_DAYS = 10_957
EPOCH_UNIX_MICROSECONDS = EPOCH_UNIX_DAYS * 86_400_000_000
