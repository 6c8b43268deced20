"""The default engine: it reads a day from PostgreSQL once, and DuckDB computes every model from it.

This module makes the temporary DuckDB database and writes its results back by COPY;
`day_columns.py` and `duckdb_events.py` bring the events in. On a large day, the engine is more than
nine times as fast as the same SQL inside PostgreSQL (docs/performance.md). Its memory is bounded:
DuckDB spills into a private folder below `SIGNAL_HOME/tmp`.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from psycopg import sql

from signal_pipeline.concurrency import submit_ahead
from signal_pipeline.days.calendar import window
from signal_pipeline.postgres.database import Connection, Database, DatabaseError, safe_errors
from signal_pipeline.postgres.identifiers import identifiers
from signal_pipeline.postgres.query import query
from signal_pipeline.rollups.copy_arrow import copy_stream
from signal_pipeline.rollups.day_columns import day_batches
from signal_pipeline.rollups.duckdb_events import fill_events
from signal_pipeline.rollups.engine import (
    DaySnapshot,
    EngineError,
    foreign_rows,
    read_recorded_day,
)
from signal_pipeline.rollups.models import Model, Models, SourceColumn
from signal_pipeline.rollups.scratch import scratch_folder

MEMORY_LIMIT = "512MB"
ROWS_PER_BATCH = 50_000


class DuckdbEngine:
    """Computes outside PostgreSQL; see `rollups.engine.Engine`.

    `url` is the database's libpq URL; DuckDB spills into `folder` (`SIGNAL_HOME/tmp`). Several
    threads can read at once: they share DuckDB's memory and its `threads`. What a read has opened
    is kept for the next read, until the engine is garbage-collected.
    """

    name = "duckdb"

    def __init__(self, url: str, folder: Path, threads: int = 2) -> None:
        self._database = Database(url)
        self._folder = folder
        self._threads = threads
        self._opening = threading.Lock()
        self._opened = ExitStack()
        self._memory: duckdb.DuckDBPyConnection | None = None
        self._idle: list[Connection] = []
        self._numbers = itertools.count()
        self._opened.callback(_close, self._idle)
        weakref.finalize(self, self._opened.close)

    @contextmanager
    def read(
        self,
        connection: Connection,  # noqa: ARG002 - only the other engine reads by it
        day: date,
        models: Models,
    ) -> Iterator[DuckdbDay]:
        """Read a day; see `Engine.read`.

        It uses a connection of its own, and keeps the results in DuckDB until the context ends.
        """
        columns = _columns_read_by(models)
        with self._results() as results:
            with _safe_errors(), self._source() as source:
                snapshot = _load(source, results, day, columns)
            failed = {
                name: error
                for name, model in models.items()
                if (error := _try_model(results, day, model))
            }
            yield DuckdbDay(snapshot, results, failed)

    @contextmanager
    def _results(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection to a new in-memory DuckDB database, which is dropped at the end."""
        name = f"build_{next(self._numbers)}"
        with _safe_errors():
            results = self._duckdb().cursor()
        with closing(results):
            with _safe_errors():
                results.execute("set TimeZone = 'UTC'")
                # The progress bar would be drawn into the output of a command.
                results.execute("set enable_progress_bar = false")
                results.execute(f"attach ':memory:' as {name}")
                results.execute(f"use {name}")
            try:
                with _safe_errors():
                    results.execute("create schema signal")
                    results.execute("create schema results")
                yield results
            finally:
                with suppress(duckdb.Error):
                    results.execute("use memory")
                    results.execute(f"detach {name}")

    def _duckdb(self) -> duckdb.DuckDBPyConnection:
        with self._opening:
            if self._memory is None:
                folder = self._opened.enter_context(scratch_folder(self._folder))
                self._memory = self._opened.enter_context(closing(_connect(folder, self._threads)))
            return self._memory

    @contextmanager
    def _source(self) -> Iterator[Connection]:
        """Yield a PostgreSQL connection in a read-only transaction; after an error it is closed."""
        try:
            with safe_errors():
                source = self._idle.pop() if self._idle else self._database.connect()
                try:
                    with source.transaction():
                        source.execute("set transaction isolation level repeatable read, read only")
                        yield source
                except BaseException:
                    source.close()
                    raise
        except DatabaseError as error:
            raise EngineError(
                f"cannot read the day from PostgreSQL: {error}", error.sqlstate
            ) from None
        self._idle.append(source)


def _close(sources: list[Connection]) -> None:
    while sources:
        sources.pop().close()


def _load(
    source: Connection,
    results: duckdb.DuckDBPyConnection,
    day: date,
    columns: Sequence[SourceColumn],
) -> DaySnapshot:
    """Stream the day's events into DuckDB; return the facts of the day from the same snapshot."""
    # Parallel workers would do more work in total, and a run builds two days at once anyway.
    source.execute("set local max_parallel_workers_per_gather = 0")
    recorded = read_recorded_day(source, day)
    # `closing` makes the reader end before its transaction, also after an error.
    with closing(_read_ahead(day_batches(source, day, columns))) as batches:
        fill_events(results, columns, batches)
    raw_events, first, last = _one_row(results, query(__package__, "raw_span"), list(window(day)))
    return DaySnapshot(
        day,
        recorded.version,
        recorded.state,
        recorded.expected_events,
        raw_events,
        first and first.astimezone(UTC),
        last and last.astimezone(UTC),
    )


def _read_ahead(batches: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch, None, None]:
    """Yield the batches; each is read while DuckDB takes the one before it."""
    with ThreadPoolExecutor(1, thread_name_prefix="signal-read") as pool:
        for reading in submit_ahead(pool, itertools.repeat(partial(next, batches, None)), ahead=1):
            if (batch := reading.result()) is None:
                return
            yield batch


@dataclass(frozen=True, slots=True)
class DuckdbDay:
    """The results of a day inside DuckDB; see `rollups.engine.ComputedDay`."""

    snapshot: DaySnapshot
    _results: duckdb.DuckDBPyConnection
    _failed: Mapping[str, EngineError]

    def write(
        self, connection: Connection, model: Model, table: sql.Identifier | None = None
    ) -> int:
        """Write the rows; see `ComputedDay.write`."""
        if error := self._failed.get(model.name):
            raise error from None
        # If rows come in the order of the primary key, its index grows at one end: half the cost.
        select = sql.SQL("select {} from {} order by {}").format(
            identifiers(model.columns), _result(model), identifiers(model.grain)
        )
        copy_in = sql.SQL("copy {} ({}) from stdin (format binary)").format(
            table or sql.Identifier("signal", model.name), identifiers(model.columns)
        )
        types = [column.data_type for column in model.columns.values()]
        with connection.cursor() as cursor:
            with cursor.copy(copy_in) as copy:
                for part in copy_stream(_batches(self._results, model.name, select), types):
                    copy.write(part)
            return cursor.rowcount


def _connect(folder: Path, threads: int) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(
        # In memory, a usual day is nearly twice as fast as in a file, and a huge one still spills.
        ":memory:",
        config={
            "memory_limit": MEMORY_LIMIT,
            "threads": threads,
            "temp_directory": str(folder / "spill"),
            "preserve_insertion_order": False,
            # DuckDB must not download anything.
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        },
    )


def _columns_read_by(models: Models) -> list[SourceColumn]:
    """Return the columns of the events that any of the models reads.

    `created_at` is always among them, since it bounds each model.
    """
    return list(dict.fromkeys(column for model in models.values() for column in model.reads))


def _try_model(results: duckdb.DuckDBPyConnection, day: date, model: Model) -> EngineError | None:
    """Compute a model; return its error, after which DuckDB can still compute the others."""
    try:
        with _safe_errors(model.name):
            _compute(results, day, model)
    except EngineError as error:
        return error
    return None


def _compute(results: duckdb.DuckDBPyConnection, day: date, model: Model) -> None:
    definitions = ", ".join(
        f'"{column.name}" {column.data_type}' for column in model.columns.values()
    )
    table = _result(model).as_string()
    results.execute(f"create table {table} ({definitions})")
    results.execute(f"insert into {table}\n{model.select}", list(window(day)))
    (rows,) = _one_row(results, query(__package__, "foreign_rows").format(table), [day])
    if rows:
        raise foreign_rows(day, model, rows)


def _one_row(
    results: duckdb.DuckDBPyConnection, statement: str, binds: Sequence[object] = ()
) -> tuple[Any, ...]:
    """Return the only row.

    It is taken with `fetchall`: until a result is read to its end, DuckDB cannot stream another.
    """
    (row,) = results.execute(statement, list(binds)).fetchall()
    return row


def _batches(
    results: duckdb.DuckDBPyConnection, name: str, select: sql.Composed
) -> Iterator[pa.RecordBatch]:
    with (
        _safe_errors(name),
        results.sql(select.as_string()).to_arrow_reader(ROWS_PER_BATCH) as batches,
    ):
        yield from batches


@contextmanager
def _safe_errors(what: str = "the day") -> Iterator[None]:
    """Turn errors of DuckDB into EngineError, because their messages quote values."""
    try:
        yield
    except duckdb.Error as error:
        raise EngineError(f"DuckDB cannot compute {what}: {type(error).__name__}") from None


def _result(model: Model) -> sql.Identifier:
    return sql.Identifier("results", model.name)
