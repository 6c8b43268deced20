"""A day's events as columns come out as they were stored, in however many batches."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from signal_pipeline.postgres.database import Connection
from signal_pipeline.rollups import day_columns
from signal_pipeline.rollups.day_columns import day_batches
from signal_pipeline.rollups.engine import EngineError
from signal_pipeline.rollups.models import event_columns

DAY = date(2026, 3, 8)
START = datetime(2026, 3, 8, tzinfo=UTC)
COLUMNS = event_columns()
NAMES = [column.name for column in COLUMNS]

# PostgreSQL's texts can hold all characters but the null character and halves of surrogate pairs.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)
rows = st.lists(
    st.tuples(
        st.uuids(),
        st.timedeltas(timedelta(days=-1), timedelta(days=2)).map(lambda after: START + after),
        *(texts, texts, st.none() | texts, st.none() | texts, st.none() | texts),
        st.binary(min_size=32, max_size=32),
        st.none() | st.just(UUID(int=0)) | st.uuids(),
        *(texts, texts, texts),
        st.uuids(),
        st.none() | st.sampled_from(['{"a": "\\u001e\\n\\\\"}', "1", "null", '""']),
    ),
    max_size=12,
)


def insert(connection: Connection, given_rows: list[tuple[object, ...]]) -> None:
    query = f"copy signal.events ({', '.join(NAMES)}) from stdin"
    with connection.cursor().copy(query.encode()) as copy:
        for row in given_rows:
            copy.write_row(row)


def read(connection: Connection) -> list[tuple[object, ...]]:
    tables = [pa.table(batch).to_pylist() for batch in day_batches(connection, DAY, COLUMNS)]
    return [tuple(row[name] for name in NAMES) for table in tables for row in table]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(stored=rows)
def test_every_value_comes_out_as_it_is(
    rollups: Connection, monkeypatch: pytest.MonkeyPatch, stored: list[tuple[object, ...]]
) -> None:
    rollups.execute("delete from signal.events")
    insert(rollups, stored)
    wanted = rollups.execute(
        f"select {', '.join(NAMES[:-1])}, description::text from signal.events"
        " where created_at >= %s and created_at < %s",
        [START, START + timedelta(days=1)],
    ).fetchall()
    key = repr
    assert sorted(read(rollups), key=key) == sorted(wanted, key=key)
    assert len(wanted) == sum(START <= row[1] < START + timedelta(days=1) for row in stored)  # type: ignore[operator]


@pytest.mark.parametrize(("blocks", "queries"), [(1, 1), (1, 3), (2, 4), (512, 4)])
def test_a_day_in_many_batches_has_each_event_once(
    rollups: Connection, monkeypatch: pytest.MonkeyPatch, blocks: int, queries: int
) -> None:
    monkeypatch.setattr(day_columns, "BLOCKS", blocks)
    monkeypatch.setattr(day_columns, "QUERIES", queries)
    base = (*("cms", "clicked", None, None, None), b"u" * 32, None, *("desktop", "Chrome", "macOS"))
    insert(rollups, [(UUID(int=n), START, *base, UUID(int=n), None) for n in range(2_000)])
    rollups.execute(
        "delete from signal.events where id > %s and id < %s", [UUID(int=99), UUID(int=900)]
    )
    assert rollups.execute("select pg_relation_size('signal.events') / 8192 > 24").fetchone() == (
        True,
    )
    ids = [row[0] for row in read(rollups)]
    assert sorted(ids) == [UUID(int=n) for n in (*range(100), *range(900, 2_000))]  # type: ignore[type-var]


@pytest.mark.parametrize("events", [1, 7, 100, 70_000])
def test_a_day_in_parts_by_user_has_each_event_once(
    rollups: Connection, monkeypatch: pytest.MonkeyPatch, events: int
) -> None:
    """As on a cluster, which knows neither the size nor the blocks of a table."""
    monkeypatch.setattr(day_columns, "distributed_tables", lambda _: {"events": "user_hash"})
    monkeypatch.setattr(day_columns, "EVENTS", events)
    hashes = [bytes(32), b"\0" * 31 + b"\1", b"\xff" * 32, b"\x80" + bytes(31), b"\x7f" * 32]
    hashes += [sha256(bytes([n])).digest() for n in range(200)]
    before, after = ("cms", "clicked", None, None, None), ("desktop", "Chrome", "macOS")
    rows = [
        (UUID(int=n), START, *before, hashed, None, *after, UUID(int=n), None)
        for n, hashed in enumerate(hashes)
    ]
    insert(rollups, rows)
    batches = list(day_batches(rollups, DAY, COLUMNS))
    assert max(batch.num_rows for batch in batches) <= max(8, 2 * events)
    assert sorted(row[0] for row in read(rollups)) == [row[0] for row in rows]  # type: ignore[type-var]


def test_a_hash_of_another_length_is_refused(rollups: Connection) -> None:
    row = (*("cms", "clicked", None, None, None), b"short", None, *("desktop", "Chrome", "macOS"))
    insert(rollups, [(UUID(int=1), START, *row, UUID(int=1), None)])
    with pytest.raises(EngineError, match="it gave 5 where 32 were expected"):
        read(rollups)
