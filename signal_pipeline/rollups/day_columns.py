"""A day's events read from PostgreSQL as Arrow batches, column by column.

For some blocks of the table at a time, PostgreSQL joins all values of a column into one value. So
neither side handles single fields. If rows were transferred one by one, each field would cost the
reader about 0.1 µs, which is more than it costs to compute a rollup with the field. The types are
those that a model's source can have (`schema_yml.SOURCE_TYPES`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import LiteralString

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql
from psycopg.rows import scalar_row

from signal_pipeline.days.calendar import window
from signal_pipeline.days.placement import distributed_tables
from signal_pipeline.postgres.copy_format import EPOCH_UNIX_MICROSECONDS
from signal_pipeline.postgres.database import Connection
from signal_pipeline.rollups.engine import EngineError
from signal_pipeline.rollups.models import SourceColumn

BLOCKS = 512  # Blocks of 8 KiB per query; PostgreSQL slows down when it joins longer values.
QUERIES = 4  # Queries per batch: about 65,000 events, 10 MB of columns. A usual day is one batch.
EVENTS = 250_000  # Events per query and batch on a cluster, where each query asks every shard.

# UTF-8 never contains these two bytes, so no text that was accepted can contain them.
_END = b"\xff"
_NULL = b"\xfe"

# How a column is joined: as text, except for these types, whose values all have the same length. A
# uuid can be null, so its validity is joined beside it.
_TEXT = r"string_agg(coalesce(textsend({0}::text), '\xfe'), '\xff')"
_JOINED = {
    "timestamptz": ["string_agg(timestamptz_send({0}), '')"],
    "bytea": ["string_agg({0}, '')"],
    "uuid": [
        "string_agg(uuid_send({0}), '')",
        r"string_agg(case when {0} is null then '\x00'::bytea else '\x01' end, '')",
    ],
}
_LAST_BLOCK = 2**32 - 1
_PREFIXES = 2**16  # How many values the first two bytes of a hash can have.
_HASH_BYTES = 32  # `user_hash` is the only bytea column.


def day_batches(
    connection: Connection, day: date, columns: Sequence[SourceColumn]
) -> Iterator[pa.RecordBatch]:
    """Yield the day's events in the caller's snapshot; each batch has its own text dictionaries.

    Raises EngineError if a column does not have one value per event, or if a value does not have
    the form of its type.
    """
    parts = _parts(connection, day)
    statement, binds = _statement(columns, parts.condition), list(window(day))
    with connection.cursor(binary=True) as cursor:
        for batch in range(0, len(parts.bounds), parts.per_batch):
            rows = []
            for bounds in parts.bounds[batch : batch + parts.per_batch]:
                cursor.execute(statement, [*binds, *bounds], prepare=False)
                rows += cursor.fetchall()
            # An aggregate over no rows is null.
            counts, *joined = (
                list(filter(_is_not_null, found)) for found in zip(*rows, strict=True)
            )
            if events := sum(counts):
                arrays = _arrays(columns, events, iter(joined))
                yield pa.RecordBatch.from_arrays(arrays, names=[column.name for column in columns])


def _is_not_null(value: object) -> bool:
    return value is not None


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts in which a day is read: a condition with two binds, and their values per query."""

    condition: LiteralString
    bounds: list[tuple[object, object]]
    per_batch: int


def _parts(connection: Connection, day: date) -> _Parts:
    """Divide a day into parts of bounded size."""
    if "events" in distributed_tables(connection):
        return _users(connection, day)
    return _blocks(connection, day)


def _blocks(connection: Connection, day: date) -> _Parts:
    """Divide the blocks of the day's partition.

    The size is read after the snapshot was taken, so every row that the snapshot shows is in these
    blocks.
    """
    scalar = connection.cursor(row_factory=scalar_row)
    blocks: int | None = scalar.execute(
        "select pg_relation_size(coalesce(to_regclass(%s), 'signal.events')) /"
        " current_setting('block_size')::int",
        [f"signal.events_{day:%Y%m%d}"],
    ).fetchone()
    assert blocks is not None
    starts = [*range(0, max(1, blocks), BLOCKS), _LAST_BLOCK]
    bounds: list[tuple[object, object]] = [
        (f"({start},0)", f"({end},0)") for start, end in itertools.pairwise(starts)
    ]
    return _Parts("ctid >= %s::tid and ctid < %s::tid", bounds, QUERIES)


def _users(connection: Connection, day: date) -> _Parts:
    """Divide the day by `user_hash`: ranges of equal length hold about equally many users.

    A cluster knows neither the size nor the blocks of a distributed table.
    """
    scalar = connection.cursor(row_factory=scalar_row)
    events: int | None = scalar.execute(
        "select count(*) from signal.events where created_at >= %s and created_at < %s",
        list(window(day)),
    ).fetchone()
    assert events is not None  # A count has a row.
    parts = min(events // EVENTS + 1, _PREFIXES)
    inner = [(_PREFIXES * n // parts).to_bytes(2, "big") for n in range(1, parts)]
    after_all = b"\xff" * (_HASH_BYTES + 1)
    bounds: list[tuple[object, object]] = [*itertools.pairwise([b"", *inner, after_all])]
    return _Parts("user_hash >= %s and user_hash < %s", bounds, 1)


def _statement(columns: Sequence[SourceColumn], condition: LiteralString) -> sql.Composed:
    joined = [
        sql.SQL(expression).format(sql.Identifier(column.name))
        for column in columns
        for expression in _JOINED.get(column.data_type, [_TEXT])
    ]
    return sql.SQL(
        "select count(*), {} from signal.events where created_at >= %s and created_at < %s and {}"
    ).format(sql.SQL(", ").join(joined), sql.SQL(condition))


def _arrays(
    columns: Sequence[SourceColumn], events: int, parts: Iterator[list[bytes]]
) -> list[pa.Array]:
    try:
        return [_array(column, events, parts) for column in columns]
    except (ValueError, pa.ArrowException):  # Their messages quote values.
        raise EngineError(
            "cannot read the day from PostgreSQL: a value does not have the form of its type"
        ) from None


def _array(column: SourceColumn, events: int, parts: Iterator[list[bytes]]) -> pa.Array:
    match column.data_type:
        case "timestamptz":
            microseconds = np.frombuffer(b"".join(next(parts)), ">i8")
            _check(len(microseconds), events)
            return pa.array(microseconds.astype("i8") + EPOCH_UNIX_MICROSECONDS).view(
                pa.timestamp("us", "UTC")
            )
        case "bytea":
            data = b"".join(next(parts))
            _check(len(data), _HASH_BYTES * events)
            return pa.Array.from_buffers(pa.binary(_HASH_BYTES), events, [None, pa.py_buffer(data)])
        case "uuid":
            return _uuids(events, b"".join(next(parts)), b"".join(next(parts)))
        case _:
            return _texts(events, _END.join([*next(parts), b""]))


def _texts(events: int, ended: bytes) -> pa.DictionaryArray:
    """Encode texts that each end with `_END` as a dictionary.

    The end bytes stay on the values while Arrow finds the distinct values. Then only these few have
    to lose their end bytes.
    """
    data = np.frombuffer(ended, "u1")
    ends = np.flatnonzero(data == _END[0])
    _check(len(ends), events)
    offsets = np.zeros(events + 1, "i4")
    offsets[1:] = ends + 1
    values = pa.Array.from_buffers(
        pa.binary(), events, [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    )
    encoded = values.dictionary_encode()
    words = pc.binary_slice(encoded.dictionary, 0, -1)
    null_index = pc.index(words, pa.scalar(_NULL, pa.binary())).as_py()
    if null_index < 0:
        return pa.DictionaryArray.from_arrays(encoded.indices, words.cast(pa.string()))
    # The null is removed from the dictionary, and the indices of the words after it move down by
    # one.
    codes = encoded.indices.to_numpy()
    without_null = pa.concat_arrays([words[:null_index], words[null_index + 1 :]]).cast(pa.string())
    return pa.DictionaryArray.from_arrays(
        pa.array(codes - (codes > null_index), pa.int32(), mask=codes == null_index), without_null
    )


def _uuids(events: int, joined: bytes, validity: bytes) -> pa.Array:
    valid = np.frombuffer(validity, "?")
    _check(len(valid), events)
    present = np.frombuffer(joined, "u1").reshape(-1, 16)
    _check(len(present), int(np.count_nonzero(valid)))
    values, bits = present, None
    if len(present) < events:
        values = np.zeros((events, 16), "u1")
        values[valid] = present
        bits = pa.py_buffer(np.packbits(valid, bitorder="little"))
    storage = pa.Array.from_buffers(pa.binary(16), events, [bits, pa.py_buffer(values)])
    return pa.ExtensionArray.from_storage(pa.uuid(), storage)


def _check(count: int, expected: int) -> None:
    if count != expected:
        raise EngineError(
            f"cannot read the day from PostgreSQL: it gave {count} where {expected} were expected"
        )
