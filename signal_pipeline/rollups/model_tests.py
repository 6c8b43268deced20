"""The tests of `schema.yml` as queries that count the rows at fault, over one window of days.

No Dagster: `checks.py` makes asset checks of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date

from psycopg import sql
from psycopg.rows import scalar_row

from signal_pipeline.catalogue.load import Catalogue
from signal_pipeline.days.calendar import window
from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.identifiers import identifiers
from signal_pipeline.postgres.query import query
from signal_pipeline.rollups.declared_tests import (
    AcceptedValues,
    NotNull,
    ReconcilesWith,
    Relationships,
    Unique,
)
from signal_pipeline.rollups.models import Column, Model, Models


@dataclass(frozen=True, slots=True)
class ModelTest:
    """One test of one model.

    `query` counts the rows, groups or days at fault between two days, which are its parameters.
    `reads_raw_events` is true if the query counts the raw events of all these days, which is too
    much work for every hour. `of_catalogue` is true if it compares names with those of the
    catalogue.
    """

    model: str
    name: str
    description: str
    query: sql.Composed
    reads_raw_events: bool = False
    of_catalogue: bool = False

    def count_faults(self, connection: Connection, first: date, last: date) -> int:
        """Return how many rows, groups or days break the test from `first` to `last`, inclusive."""
        start, end = window(first, last)
        bounds = {"first": first, "last": last, "start": start, "end": end}
        scalar = connection.cursor(row_factory=scalar_row)
        faults: int | None = scalar.execute(self.query, bounds).fetchone()
        assert faults is not None
        return faults


def model_tests(models: Models, catalogue: Catalogue) -> list[ModelTest]:
    """Return every test of every model."""
    return [
        test
        for model in models.values()
        for test in (*_column_tests(model, catalogue), *_table_tests(model))
    ]


def reconciliations(models: Models) -> list[ModelTest]:
    """Return the tests that compare a rollup with other numbers.

    Tests that a build itself asserts before its commit are left out.
    """
    return [
        _reconciliation(model, test)
        for model in models.values()
        for test in model.tests
        if isinstance(test, ReconcilesWith) and not _counts_every_event(test)
    ]


def _counts_every_event(test: ReconcilesWith) -> bool:
    """True if the test compares the day's total with all raw events, which a build asserts."""
    return test.to == "events" and test.where is None and not test.by


def _column_tests(model: Model, catalogue: Catalogue) -> Iterator[ModelTest]:
    for column in model.columns.values():
        for test in column.tests:
            if isinstance(test, NotNull):
                yield _row_test(
                    model, f"{column.name}_not_null", _identifier(column) + sql.SQL(" is null")
                )
            elif isinstance(test, AcceptedValues):
                accepted = sql.Literal(accepted_values(test, catalogue)).as_string()
                condition = sql.SQL("not ({} = any ({}))").format(
                    _identifier(column), _verbatim(accepted)
                )
                found = _row_test(model, f"{column.name}_accepted_values", condition)
                yield replace(found, of_catalogue=test.catalogue is not None)
            elif isinstance(test, Relationships):
                condition = sql.SQL(
                    "{column} is not null and not exists"
                    " (select from signal.{table} as t where t.{field} = {rollup}.{column})"
                ).format(
                    column=_identifier(column),
                    table=sql.Identifier(test.table),
                    field=sql.Identifier(test.field),
                    rollup=sql.Identifier(model.name),
                )
                yield _row_test(model, f"{column.name}_relationships", condition)


def _table_tests(model: Model) -> Iterator[ModelTest]:
    for test in model.tests:
        if isinstance(test, Unique):
            statement = sql.SQL(query(__package__, "not_unique")).format(
                model=sql.Identifier(model.name), grain=identifiers(test.columns)
            )
            yield ModelTest(
                model.name, "grain_is_unique", f"One row per {', '.join(test.columns)}.", statement
            )
        elif isinstance(test, ReconcilesWith):
            yield _reconciliation(model, test)


def _reconciliation(model: Model, test: ReconcilesWith) -> ModelTest:
    by = ("activity_date", *test.by)
    fold = sql.SQL("and event_type = '(all)'")
    if "event_type" in test.by:
        # The raw events have no row for all types together.
        fold = sql.SQL("and event_type <> '(all)'" if test.to == "events" else "")
    counted_by_build = _counts_every_event(test)
    against = test.to
    if counted_by_build:
        against = "the raw events that its build counted"
        other = sql.SQL(query(__package__, "events_of_builds")).format(
            rollup=sql.Literal(model.name)
        )
    elif test.to == "events":
        date_column = sql.SQL("(created_at at time zone 'UTC')::date as activity_date")
        other = sql.SQL(query(__package__, "events_by_day")).format(
            columns=sql.SQL(", ").join([date_column, *map(sql.Identifier, test.by)]),
            by=identifiers(by),
            condition=_verbatim(test.where or "true"),  # The loader has parsed and checked it.
        )
    else:
        other = _rollup_by_day(test.to, by, fold)
    statement = sql.SQL(query(__package__, "not_reconciled")).format(
        own=_rollup_by_day(model.name, by, fold),
        other=other,
        by=identifiers(by),
        rollups=sql.Literal([model.name] if test.to == "events" else [model.name, test.to]),
    )
    text = f"Per day, `events` adds up to the same number as in {against}."
    reads_raw_events = test.to == "events" and not counted_by_build
    return ModelTest(model.name, f"reconciles_with_{test.to}", text, statement, reads_raw_events)


def _rollup_by_day(name: str, by: tuple[str, ...], fold: sql.SQL) -> sql.Composed:
    return sql.SQL(query(__package__, "rollup_by_day")).format(
        model=sql.Identifier(name), by=identifiers(by), fold=fold
    )


def _row_test(model: Model, name: str, condition: sql.Composed) -> ModelTest:
    statement = sql.SQL(query(__package__, "rows_at_fault")).format(
        model=sql.Identifier(model.name), condition=condition
    )
    return ModelTest(model.name, name, f"`schema.yml`: {name.replace('_', ' ')}.", statement)


def accepted_values(test: AcceptedValues, catalogue: Catalogue) -> list[str]:
    """Return the values that the test accepts, those of the catalogue last."""
    named = {
        "apps": catalogue.apps,
        "event_types": catalogue.event_types,
        "entity_types": catalogue.entity_types,
        None: (),
    }[test.catalogue]
    return [*test.values, *named]


def _verbatim(text: str) -> sql.SQL:
    """Return SQL for a statement with named parameters, where psycopg wants each % twice."""
    return sql.SQL(text.replace("%", "%%"))


def _identifier(column: Column) -> sql.Composed:
    return identifiers([column.name])
