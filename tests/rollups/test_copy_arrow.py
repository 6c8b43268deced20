"""Arrow batches reach PostgreSQL unchanged.

The tests cover every type of a rollup's column, with nulls, in any number of batches.
"""

from __future__ import annotations

from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from signal_pipeline.postgres.database import Connection
from signal_pipeline.rollups.copy_arrow import copy_stream
from signal_pipeline.rollups.schema_yml import COLUMN_TYPES

ARROW = {
    "text": pa.string(),
    "bigint": pa.int64(),
    "integer": pa.int32(),
    "double precision": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamptz": pa.timestamp("us", tz="UTC"),
}
VALUES = {
    "text": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "double precision": st.floats(allow_nan=False),
    "boolean": st.booleans(),
    "date": st.dates(),
    "timestamptz": st.datetimes(min_value=datetime(2, 1, 1), timezones=st.just(UTC)),
}
ROWS = st.lists(
    st.tuples(*(st.none() | VALUES[data_type] for data_type in COLUMN_TYPES)), max_size=20
)


def _batch(rows: list[tuple[object, ...]]) -> pa.RecordBatch:
    columns = [[row[at] for row in rows] for at in range(len(COLUMN_TYPES))]
    return pa.record_batch(
        [
            pa.array(column, ARROW[data_type])
            for column, data_type in zip(columns, COLUMN_TYPES, strict=True)
        ],
        names=list(COLUMN_TYPES),
    )


def _stored(connection: Connection, batches: list[pa.RecordBatch]) -> list[tuple[object, ...]]:
    columns = ", ".join(f"c{at} {data_type}" for at, data_type in enumerate(COLUMN_TYPES))
    connection.execute("drop table if exists pg_temp.copied")
    connection.execute(f"create temporary table copied (place serial, {columns})")  # type: ignore[arg-type]
    names = ", ".join(f"c{at}" for at in range(len(COLUMN_TYPES)))
    with connection.cursor().copy(f"copy copied ({names}) from stdin (format binary)") as copy:  # type: ignore[arg-type]
        for part in copy_stream(batches, COLUMN_TYPES):
            copy.write(part)
    return connection.execute(f"select {names} from copied order by place").fetchall()  # type: ignore[arg-type]


@pytest.mark.embedded_only
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)
@given(ROWS, st.integers(1, 7))
def test_what_arrives_is_what_was_sent(
    connection: Connection, rows: list[tuple[object, ...]], size: int
) -> None:
    batches = [_batch(rows[at : at + size]) for at in range(0, len(rows), size)]
    assert _stored(connection, batches) == rows


def test_a_slice_sends_its_own_rows_only(connection: Connection) -> None:
    rows = [
        (f"row {n}", n, n, float(n), n % 2 == 0, date(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC))
        for n in range(9)
    ]
    rows[4] = (None,) * len(COLUMN_TYPES)  # type: ignore[assignment]
    assert _stored(connection, [_batch(rows).slice(3, 4)]) == rows[3:7]


def test_no_batch_is_no_row(connection: Connection) -> None:
    assert _stored(connection, []) == []
