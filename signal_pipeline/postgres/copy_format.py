"""PostgreSQL's binary COPY format, as its documentation of COPY has it under "Binary Format".

A header, for each row the number of its fields, for each field its length and its bytes, a trailer.
Numbers are in network byte order; times count from 2000-01-01 UTC, in microseconds or days.
"""

from __future__ import annotations

from datetime import UTC, datetime

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
NULL = b"\xff\xff\xff\xff"  # The length -1, and no bytes.
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
