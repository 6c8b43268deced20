"""Arrays in PostgreSQL's binary format, as parameters of a statement.

psycopg goes through a list item by item, and PostgreSQL reads the text of an array more slowly than
its bytes. The format is that of `array_recv`: the number of dimensions, whether there are nulls,
the type of the items, their number, and the index of the first; then the length and the bytes of
each item. Numbers are in network byte order.
"""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from struct import Struct

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

from signal_pipeline.postgres.copy_format import EPOCH

_UUID = psycopg.adapters.types["uuid"]
_DATE = psycopg.adapters.types["date"]
_UUID_LENGTH = "00000010"  # In hexadecimal digits
_EPOCH_DAY = EPOCH.toordinal()
_head = Struct(">iiIii").pack
_date_item = Struct(">ii").pack


class UuidArray(bytes):
    """A value of `uuid[]`."""

    @classmethod
    def of(cls, texts: Sequence[str]) -> UuidArray:
        """Return the array of UUIDs in the usual form, with four hyphens."""
        items = _UUID_LENGTH.join(["", *texts]).encode().translate(None, b"-")
        return cls(_head(1, 0, _UUID.oid, len(texts), 1) + unhexlify(items))


class DateArray(bytes):
    """A value of `date[]`."""

    @classmethod
    def of(cls, days: Sequence[date]) -> DateArray:
        """Return the array of dates."""
        return cls(_head(1, 0, _DATE.oid, len(days), 1) + b"".join(map(_date, days)))


@lru_cache(maxsize=1024)
def _date(day: date) -> bytes:
    return _date_item(4, day.toordinal() - _EPOCH_DAY)


class _UuidArrayDumper(Dumper):
    format = Format.BINARY
    oid = _UUID.array_oid

    def dump(self, obj: UuidArray) -> bytes:
        return obj


class _DateArrayDumper(_UuidArrayDumper):
    oid = _DATE.array_oid


psycopg.adapters.register_dumper(UuidArray, _UuidArrayDumper)
psycopg.adapters.register_dumper(DateArray, _DateArrayDumper)
