"""Arrow batches as rows of PostgreSQL's binary COPY format, by column and without a loop over rows.

Each field becomes its length and its bytes. Arrow joins the fields of all rows at once, and the
buffer of the joined column is what COPY reads. The types are those that a column of a rollup can
have (`schema_yml.COLUMN_TYPES`). `postgres/copy_format.py` describes the format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from struct import pack

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from signal_pipeline.postgres.copy_format import (
    EPOCH_UNIX_DAYS,
    EPOCH_UNIX_MICROSECONDS,
    HEADER,
    NULL,
    TRAILER,
)

_NULL = pa.scalar(NULL, pa.binary())
_NOTHING = pa.scalar(b"", pa.binary())

Values = npt.NDArray[np.generic]

# For each PostgreSQL type: the Arrow type to read it as, and how to bring its values into
# PostgreSQL's form (network byte order, with dates and times counted from 2000-01-01).
_FIXED: dict[str, tuple[pa.DataType, Callable[[Values], Values]]] = {
    "bigint": (pa.int64(), lambda values: values.astype(">i8")),
    "integer": (pa.int32(), lambda values: values.astype(">i4")),
    "double precision": (pa.float64(), lambda values: values.astype(">f8")),
    "boolean": (pa.uint8(), lambda values: values.astype("u1")),
    "date": (pa.int32(), lambda values: (values.astype("i8") - EPOCH_UNIX_DAYS).astype(">i4")),
    "timestamptz": (
        pa.int64(),
        lambda values: (values.astype("i8") - EPOCH_UNIX_MICROSECONDS).astype(">i8"),
    ),
}


def copy_stream(
    batches: Iterable[pa.RecordBatch], types: Sequence[str]
) -> Iterator[bytes | memoryview]:
    """Yield the batches as the parts of one COPY; `types` are PostgreSQL's, one per column."""
    yield HEADER
    for batch in batches:
        if batch.num_rows:
            yield _rows(batch, types)
    yield TRAILER


def _rows(batch: pa.RecordBatch, types: Sequence[str]) -> memoryview:
    fields: list[pa.Array | pa.Scalar] = [pa.scalar(pack(">h", len(types)), pa.binary())]
    for column, data_type in zip(batch.columns, types, strict=True):
        fields += _text(column) if data_type == "text" else [_fixed_size(column, data_type)]
    rows = pc.binary_join_element_wise(*fields, _NOTHING)
    _, offsets, data = rows.buffers()
    end = int(np.frombuffer(offsets, dtype=np.int32)[len(rows)])
    return memoryview(data)[:end]


def _text(column: pa.Array) -> list[pa.Array]:
    """Return the lengths and the texts; a null has the length -1 and no text."""
    texts = column.cast(pa.binary())
    lengths = pc.binary_length(texts).fill_null(-1).to_numpy(zero_copy_only=False)
    return [_binary(lengths.astype(">i4")), texts.fill_null(b"")]


def _fixed_size(column: pa.Array, data_type: str) -> pa.Array:
    """Return each value preceded by its length."""
    arrow_type, in_network_order = _FIXED[data_type]
    numbers = column.cast(arrow_type).fill_null(0).to_numpy(zero_copy_only=False)
    values = in_network_order(numbers)
    rows = np.empty(len(values), dtype=[("length", ">i4"), ("value", values.dtype)])
    rows["length"], rows["value"] = values.dtype.itemsize, values
    fields = _binary(rows)
    return pc.if_else(column.is_null(), _NULL, fields) if column.null_count else fields


def _binary(items: npt.NDArray[np.void] | Values) -> pa.Array:
    """Return a binary array over items of equal size, without a copy."""
    offsets = np.arange(len(items) + 1, dtype=np.int32) * items.dtype.itemsize
    return pa.Array.from_buffers(
        pa.binary(), len(items), [None, pa.py_buffer(offsets), pa.py_buffer(items)]
    )
