"""The day's events inside DuckDB.

Texts with few distinct values become ENUMs, because grouping by small numbers costs half as much as
grouping by texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from signal_pipeline.rollups.models import SourceColumn

ENUM_VALUES = 50_000  # A text column with more distinct values stays text.

_DUCKDB_TYPES = {"jsonb": "json"}  # The others of schema_yml.SOURCE_TYPES have the same names.


def fill_events(
    results: duckdb.DuckDBPyConnection,
    columns: Sequence[SourceColumn],
    batches: Iterable[pa.RecordBatch],
) -> None:
    """Make the table `signal.events` from batches whose texts are dictionaries (`day_columns.py`).

    The first batch decides the ENUMs. If a later batch brings new words, the column is text until
    all batches are in.
    """
    types = {
        column.name: _DUCKDB_TYPES.get(column.data_type, column.data_type) for column in columns
    }
    words = {
        column.name: pa.array([], pa.string()) for column in columns if column.data_type == "text"
    }
    unsettled: set[str] = set()
    made = False
    for batch in batches:
        for name in _add_words(words, batch):
            if not made and name in words:
                types[name] = _enum(results, name, words[name])
            elif made and name not in unsettled:
                unsettled.add(name)
                _retype(results, name, "text")
        if not made:
            _create(results, types)
            made = True
        results.register("streamed", batch)
        results.execute("insert into signal.events by name select * from streamed")
        results.unregister("streamed")
    if not made:
        _create(results, types)
    for name in sorted(unsettled & set(words)):
        _retype(results, name, _enum(results, name, words[name]))


def _create(results: duckdb.DuckDBPyConnection, types: dict[str, str]) -> None:
    definitions = ", ".join(f'"{name}" {data_type}' for name, data_type in types.items())
    results.execute(f"create table signal.events ({definitions})")


def _add_words(words: dict[str, pa.Array], batch: pa.RecordBatch) -> list[str]:
    """Add the batch's words and return the columns that changed.

    The words are sorted, so that an ENUM compares as its texts do. A column with too many words is
    removed from `words`.
    """
    changed = []
    for name, known in list(words.items()):
        seen = pc.unique(pa.concat_arrays([known, batch[name].dictionary]))
        if len(seen) > ENUM_VALUES:
            del words[name]
        elif len(seen) > len(known):
            words[name] = seen.take(pc.array_sort_indices(seen))
        else:
            continue
        changed.append(name)
    return changed


def _retype(results: duckdb.DuckDBPyConnection, column: str, data_type: str) -> None:
    results.execute(f'alter table signal.events alter column "{column}" set data type {data_type}')


def _enum(results: duckdb.DuckDBPyConnection, column: str, words: pa.Array) -> str:
    """Create a type of these words; the earlier type stays until the database is dropped."""
    data_type = f'signal."{column} of {len(words)}"'
    results.register("words", pa.table({"word": words}))
    results.execute(f"create type {data_type} as enum (select word from words)")
    results.unregister("words")
    return data_type
