"""The loader of `dbt_like_sql/`: each model as a frozen `Model`, checked against `schema.yml`.

To add a rollup, write one file in `models/` and one entry in `schema.yml`. This module ties the
files together. `schema_yml.py` reads the yml files, `lineage.py` analyses one SQL text, and
`schema/rollup_tables.py` makes the tables. No Dagster.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from signal_pipeline.errors import SignalError
from signal_pipeline.rollups.declared_tests import (
    ColumnTest,
    NotNull,
    ReconcilesWith,
    Relationships,
    TableTest,
    Unique,
)
from signal_pipeline.rollups.kept_values import check_kept_values
from signal_pipeline.rollups.lineage import Query, analyse, check_condition
from signal_pipeline.rollups.problem import Problem
from signal_pipeline.rollups.schema_yml import (
    DATE_COLUMN,
    ColumnEntry,
    ModelEntry,
    TableEntry,
    column_tests,
    read_schema,
    read_sources,
    table_tests,
)


class ModelError(SignalError):
    """A model, `schema.yml` or `sources.yml` is wrong; the text names the file and the problem."""


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """A column of `signal.events`, with its PostgreSQL type."""

    name: str
    data_type: str
    description: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a rollup; its value comes from the `source_columns` of `signal.events`."""

    name: str
    data_type: str
    description: str
    tests: tuple[ColumnTest, ...]
    source_columns: tuple[str, ...]
    counts_rows: bool

    @property
    def nullable(self) -> bool:
        """True if the table allows null, because the column has no `not_null` test."""
        return not any(isinstance(test, NotNull) for test in self.tests)

    @property
    def origin(self) -> str:
        """Where the value comes from, in words: "from `events.user_hash`"."""
        if self.counts_rows:
            return "from `events` rows"
        if not self.source_columns:
            return "from the day of the build" if self.name == DATE_COLUMN else "a constant"
        return "from " + ", ".join(f"`events.{column}`" for column in self.source_columns)

    @property
    def described(self) -> str:
        """The description followed by the origin, for a UI that does not show lineage."""
        return f"{self.description} ({self.origin})"


@dataclass(frozen=True, slots=True)
class Model:
    """A model: the SELECT that computes one day of a rollup, and what `schema.yml` says about it.

    `select` is executed as written, with the day's start and end as the binds $1 and $2; only the
    postgres engine on a cluster rewrites it (`per_user.py`). `columns` are in the order of the
    SELECT. `reads` are the columns of `signal.events` that the SQL touches. `checksum` is over the
    tokens of the SQL, in hex; when it changes, builds become stale.
    """

    name: str
    description: str
    select: str
    columns: Mapping[str, Column]
    owner: str
    tags: tuple[str, ...]
    tests: tuple[TableTest, ...]
    dependencies: tuple[str, ...]
    reads: tuple[SourceColumn, ...]
    checksum: str
    path: Path

    @property
    def grain(self) -> tuple[str, ...]:
        """The columns that identify a row: the primary key of the table."""
        return next(test.columns for test in self.tests if isinstance(test, Unique))

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The columns of the grain other than the date, the app and the event type."""
        common = (DATE_COLUMN, "app_name", "event_type")
        return tuple(column for column in self.grain if column not in common)

    @property
    def covers_all_events(self) -> bool:
        """True if the `events` of its '(all)' rows add up to all raw events of the day."""
        return any(
            isinstance(test, ReconcilesWith) and test.to == "events" and test.where is None
            for test in self.tests
        )


class Models(Mapping[str, Model]):
    """The models by name, in the order of `schema.yml`. Nothing changes them."""

    def __init__(self, models: Iterable[Model]) -> None:
        self._by_name = {model.name: model for model in models}

    def __getitem__(self, name: str) -> Model:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    @property
    def checksums(self) -> dict[str, str]:
        """The checksum of each model by its name: a build with another checksum is stale."""
        return {name: model.checksum for name, model in self.items()}

    @property
    def digest(self) -> str:
        """A short text that changes when any model changes."""
        return hashlib.sha256(repr(sorted(self.checksums.items())).encode()).hexdigest()[:12]

    def only(self, names: Iterable[str]) -> Models:
        """Return the models of these names, in the order in which the names are given."""
        return Models(self[name] for name in names)


def load_models(folder: Path | None = None) -> Models:
    """Return all models by name, in the order of `schema.yml`.

    `folder` defaults to the one that comes with the package, which a process reads once. Raises
    ModelError for the first thing that is wrong.
    """
    return _read_once(_own_folder()) if folder is None else _read_models(folder)


@cache
def _read_once(folder: Path) -> Models:
    return _read_models(folder)


def _read_models(folder: Path) -> Models:
    with _NamingFile(folder / "sources.yml"):
        sources = read_sources(folder / "sources.yml")
        if "events" not in sources:
            raise Problem("the table events is missing")
    with _NamingFile(folder / "schema.yml"):
        entries = read_schema(folder / "schema.yml")
        _check_files(folder / "models", entries)
    events = _source_columns(sources["events"])
    models = Models(_model(folder, entry, events) for entry in entries.values())
    with _NamingFile(folder / "schema.yml"):
        fields = {
            name: [column.name for column in entry.columns]
            for name, entry in (sources | entries).items()
        }
        types = {column.name: column.data_type for column in events}
        for model in models.values():
            _check_references(model, fields, types)
    return models


def event_columns() -> list[SourceColumn]:
    """Return the columns of `signal.events` that `sources.yml` describes; raises ModelError."""
    path = _own_folder() / "sources.yml"
    with _NamingFile(path):
        return _source_columns(read_sources(path)["events"])


def _source_columns(table: TableEntry) -> list[SourceColumn]:
    return [
        SourceColumn(column.name, column.data_type, column.description) for column in table.columns
    ]


def _own_folder() -> Path:
    package = Path(__file__).resolve().parent.parent
    inside = package / "dbt_like_sql"
    return inside if inside.is_dir() else package.parent / "dbt_like_sql"


class _NamingFile:
    """Puts the name of the file before a Problem that is raised inside."""

    def __init__(self, path: Path) -> None:
        self._name = path.name if path.suffix == ".yml" else f"models/{path.name}"

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, Problem):
            raise ModelError(f"{self._name}: {error}") from None


def _check_files(folder: Path, entries: Mapping[str, ModelEntry]) -> None:
    files = {path.stem for path in folder.glob("*.sql")}
    for name in sorted(files - set(entries)):
        raise Problem(f"models/{name}.sql has no entry")
    for name in sorted(set(entries) - files):
        raise Problem(f"{name} has no file models/{name}.sql")
    if not entries:
        raise Problem("no models")


def _model(folder: Path, entry: ModelEntry, events: Sequence[SourceColumn]) -> Model:
    path = folder / "models" / f"{entry.name}.sql"
    with _NamingFile(path):
        try:
            select = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise Problem("not UTF-8") from None
        query = analyse(select, {column.name: column.data_type for column in events})
        _check_columns(query, entry)
        check_kept_values(query)
    return Model(
        name=entry.name,
        description=entry.description.strip(),
        select=select,
        columns={column.name: _column(column, query) for column in entry.columns},
        owner=entry.owner,
        tags=entry.tags,
        tests=table_tests(entry),
        dependencies=query.dependencies,
        reads=tuple(column for column in events if column.name in query.reads),
        checksum=query.checksum,
        path=path,
    )


def _column(entry: ColumnEntry, query: Query) -> Column:
    return Column(
        entry.name,
        entry.data_type,
        entry.description.strip(),
        column_tests(entry),
        query.columns[entry.name],
        entry.name in query.counted,
    )


def _check_columns(query: Query, entry: ModelEntry) -> None:
    """Raise Problem unless the SELECT gives the columns of the entry, in the entry's order."""
    written = list(query.columns)
    wanted = [column.name for column in entry.columns]
    first = written[0] if written else "none"  # PostgreSQL allows a SELECT without columns.
    if first != DATE_COLUMN:
        raise Problem(f"the first column is {first}, not {DATE_COLUMN}")
    for position, (found, expected) in enumerate(zip(written, wanted, strict=False), start=1):
        if found != expected:
            raise Problem(f"column {position} is {found}, but schema.yml has {expected} there")
    if len(written) > len(wanted):
        raise Problem(f"column {written[len(wanted)]} is not in schema.yml")
    if len(wanted) > len(written):
        raise Problem(f"column {wanted[len(written)]} of schema.yml is not selected")


def _check_references(
    model: Model, fields: Mapping[str, list[str]], event_columns: Mapping[str, str]
) -> None:
    """Raise Problem for a test that names an unknown table or column, or has a bad condition."""
    try:
        for column in model.columns.values():
            for test in column.tests:
                if isinstance(test, Relationships):
                    _check_fields(test.table, (test.field,), fields)
        for reconciled in model.tests:
            if isinstance(reconciled, ReconcilesWith):
                _check_reconciled(model, reconciled, fields, event_columns)
    except Problem as problem:
        raise Problem(f"{model.name}: {problem}") from None


def _check_reconciled(
    model: Model,
    test: ReconcilesWith,
    fields: Mapping[str, list[str]],
    event_columns: Mapping[str, str],
) -> None:
    _check_fields(test.to, test.by, fields)
    _check_fields(model.name, test.by, fields)
    if test.to == model.name or (test.to != "events" and DATE_COLUMN not in fields[test.to]):
        raise Problem(f"reconciles_with: `to` is events or another rollup, not {test.to}")
    if DATE_COLUMN in test.by or len(set(test.by)) < len(test.by):
        raise Problem(f"reconciles_with: `by` names a column twice; {DATE_COLUMN} is always in it")
    if test.where is not None:
        if test.to != "events":
            raise Problem("reconciles_with: `where` is for `to: events` only")
        check_condition(test.where, event_columns)


def _check_fields(table: str, names: Sequence[str], fields: Mapping[str, Sequence[str]]) -> None:
    if table not in fields:
        raise Problem(f"a test names {table}, which is neither a model nor in sources.yml")
    for name in names:
        if name not in fields[table]:
            raise Problem(f"a test names the column {name}, which {table} does not have")
