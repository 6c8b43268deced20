"""The shape of `schema.yml` and `sources.yml`: their keys and the types of columns.

This module checks one file, one entry at a time. `declared_tests.py` reads the tests of an entry,
and `models.py` ties the entries to SQL files and to each other. The format follows dbt's property
files: https://docs.getdbt.com/reference/model-properties
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from signal_pipeline.rollups.declared_tests import (
    COLUMN_TESTS,
    TABLE_TESTS,
    UNIQUE,
    ColumnTest,
    NotNull,
    ReconcilesWith,
    TableTest,
    Unique,
    read_test,
)
from signal_pipeline.rollups.problem import Problem
from signal_pipeline.texts.strict_yaml import (
    Document,
    Key,
    Shape,
    YamlError,
    parse_yaml,
)

DATE_COLUMN = "activity_date"
MEASURES = ("events", "users", "sessions")
ALL_TYPES = "(all)"  # The event type of the rows over all event types.
COLUMN_TYPES = ("text", "bigint", "integer", "double precision", "boolean", "date", "timestamptz")
SOURCE_TYPES = (*COLUMN_TYPES, "uuid", "bytea", "jsonb")

# Tables, views and sequences of the schemas `signal` and `signal_reporting`, and assets of Dagster.
TAKEN_NAMES = (
    *("address_gaps", "alembic_version", "app_days", "audit", "audit_id_seq", "bots", "books"),
    *("builds", "day_keys", "days", "drops", "event_keys", "events", "expected_events"),
    *(
        "expired_raw_events",
        "former_rollups",
        "guard_passes",
        "instance",
        "intake",
        "landed_files",
        "raw_events",
    ),
    *("receipts", "rollup_days", "rollup_freshness", "seen_days", "usage_report"),
)
_PARTITION = re.compile(r"events_\d{8}")  # A day's partition of the table of raw events.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")
_OWNER = re.compile(r"team:[a-z0-9_-]+|[^@\s]+@[^@\s]+")
_GRAIN = re.compile(r"\bOne row per [^.]+\.$")


class ColumnEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column as written in the file; `column_tests` reads its `data_tests`."""

    name: str
    data_type: str
    description: str
    data_tests: tuple[str | dict[str, object], ...] = ()


class ModelEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model as written in `schema.yml`; `table_tests` reads its `data_tests`."""

    name: str
    description: str
    owner: str
    columns: tuple[ColumnEntry, ...]
    tags: tuple[str, ...] = ()
    data_tests: tuple[str | dict[str, object], ...] = ()


class TableEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table as written in `sources.yml`."""

    name: str
    description: str
    columns: tuple[ColumnEntry, ...]


class _SourceEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Literal["signal"]
    description: str
    tables: tuple[TableEntry, ...]


Named = TypeVar("Named", ModelEntry, TableEntry)


class _SchemaFile(msgspec.Struct, forbid_unknown_fields=True):
    version: Literal[2]
    models: list[object]


class _SourcesFile(msgspec.Struct, forbid_unknown_fields=True):
    version: Literal[2]
    sources: list[_SourceEntry]


def read_schema(path: Path) -> dict[str, ModelEntry]:
    """Return the models of `schema.yml` by name, in the order of the file; raises Problem."""
    document = _load(path)
    entries = []
    for place, raw in enumerate(_read(document, _SchemaFile).models):
        entry = _read(document, ModelEntry, "models", place, where=_name_of(raw))
        with _naming_entry(document, entry.name, "models", place):
            _refuse_taken_name(entry.name)
            _check_columns(entry.columns, COLUMN_TYPES)
            _check_model(entry)
        entries.append(entry)
    return _by_name(entries)


def read_sources(path: Path) -> dict[str, TableEntry]:
    """Return the tables of `sources.yml` by name, all in the schema `signal`; raises Problem."""
    document = _load(path)
    tables = []
    for source, entry in enumerate(_read(document, _SourcesFile).sources):
        for place, table in enumerate(entry.tables):
            with _naming_entry(document, table.name, "sources", source, "tables", place):
                _check_columns(table.columns, SOURCE_TYPES)
            tables.append(table)
    return _by_name(tables)


def column_tests(column: ColumnEntry) -> tuple[ColumnTest, ...]:
    """Return the tests of a column; raises Problem for an unknown test or wrong arguments."""
    return tuple(
        read_test(entry, COLUMN_TESTS, f"column {column.name}") for entry in column.data_tests
    )


def table_tests(model: ModelEntry) -> tuple[TableTest, ...]:
    """Return the tests of a whole model; raises Problem for an unknown test or wrong arguments."""
    return tuple(read_test(entry, TABLE_TESTS, "model") for entry in model.data_tests)


def _by_name(entries: Sequence[Named]) -> dict[str, Named]:
    for entry in entries:
        _check_name(entry.name)
    if repeated := _first_repeated(entry.name for entry in entries):
        raise Problem(f"{repeated} has two entries")
    return {entry.name: entry for entry in entries}


def _check_columns(columns: Sequence[ColumnEntry], types: tuple[str, ...]) -> None:
    for column in columns:
        _check_name(column.name)
        column_tests(column)
        # Checks get their names from the tests. If two had the same name, only the last would run.
        if repeated := _first_repeated(map(_test_name, column.data_tests)):
            raise Problem(f"the column {column.name} has two tests {repeated}")
        if column.data_type not in types:
            raise Problem(
                f"column {column.name} has the type {column.data_type!r}; there are"
                f" {', '.join(types)}"
            )
    if repeated := _first_repeated(column.name for column in columns):
        raise Problem(f"the column {repeated} has two entries")


def _check_model(model: ModelEntry) -> None:
    """Raise Problem unless the entry is complete and consistent."""
    if not _OWNER.fullmatch(model.owner):
        raise Problem(f"the owner {model.owner!r} is neither team:<name> nor an e-mail address")
    if not _GRAIN.search(model.description.strip()):
        raise Problem("the description does not end with its grain, 'One row per ….'")
    columns = {column.name: column for column in model.columns}
    for name in (DATE_COLUMN, *MEASURES):
        if name not in columns:
            raise Problem(f"the column {name} is missing")
    if columns[DATE_COLUMN].data_type != "date":
        raise Problem(f"{DATE_COLUMN} is not a date")
    tests = table_tests(model)
    others = (test.to for test in tests if isinstance(test, ReconcilesWith))
    if repeated := _first_repeated(others):
        raise Problem(f"two tests would be the one check reconciles_with_{repeated}; keep one")
    grains = [test.columns for test in tests if isinstance(test, Unique)]
    if len(grains) != 1:
        raise Problem(f"needs one test `{UNIQUE}`, over its grain")
    for name in (DATE_COLUMN, "app_name", "event_type"):
        if name not in grains[0]:
            raise Problem(f"{name} is not in the grain")
    for name in grains[0]:
        if name not in columns:
            raise Problem(f"the test {UNIQUE} names {name}, which is not a column")
        if NotNull() not in column_tests(columns[name]):
            raise Problem(f"{name} is in the grain and needs the test not_null")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise Problem(
            f"the name {name!r} is not lower case with underscores, at most 50 characters"
        )


def _refuse_taken_name(name: str) -> None:
    if name in TAKEN_NAMES or _PARTITION.fullmatch(name):
        raise Problem("the name is taken by Signal itself: choose another for this rollup")


def _test_name(entry: str | dict[str, object]) -> str:
    return entry if isinstance(entry, str) else next(iter(entry))


def _first_repeated(names: Iterable[str]) -> str | None:
    return next((name for name, times in Counter(names).items() if times > 1), None)


def _load(path: Path) -> Document:
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Problem("the file is missing") from None
    except UnicodeDecodeError:
        raise Problem("is not UTF-8 text") from None
    except YamlError as error:
        raise Problem(str(error)) from None


def _read(document: Document, shape: type[Shape], *path: Key, where: str = "the file") -> Shape:
    try:
        return document.read(shape, *path, where=where)
    except YamlError as error:
        raise Problem(str(error)) from None


@contextmanager
def _naming_entry(document: Document, name: str, *path: Key) -> Iterator[None]:
    """Put the line and the name of an entry before a Problem that is raised inside."""
    try:
        yield
    except Problem as problem:
        raise Problem(f"line {document.line(*path)}: {name}: {problem}") from None


def _name_of(entry: object) -> str:
    return str(entry.get("name", "a model without name")) if isinstance(entry, dict) else "a model"
