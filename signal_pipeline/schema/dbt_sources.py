"""The views of `signal_reporting` as a `sources.yml` for dbt, made from `dbt_like_sql/schema.yml`.

Names, columns and descriptions are those of `reporting_views.py`; tests are those of `schema.yml`
that mean something in a view. What dbt's users do with the file is in docs/dbt.md.

Format: https://docs.getdbt.com/reference/source-properties
"""

from __future__ import annotations

from typing import Any

import yaml

from signal_pipeline.catalogue.load import Catalogue
from signal_pipeline.rollups.declared_tests import AcceptedValues, NotNull
from signal_pipeline.rollups.model_tests import accepted_values
from signal_pipeline.rollups.models import Model, Models
from signal_pipeline.rollups.schema_yml import ALL_TYPES
from signal_pipeline.schema.reporting_views import SCHEMA, ReportingView, reporting_views

SOURCE = "signal"
# The views of the states of days, with their comments and keys. To Dagster they belong to the asset
# of the raw events.
_STATES = {
    "days": (
        "The state of each UTC day that has events or was built. One row per day. A day without a"
        " row is unknown, not zero.",
        ("day",),
    ),
    "rollup_days": (
        "How fresh each rollup of each day is, and its last build. One row per day and rollup."
        " Never add anything up over rollups: each counts the same events.",
        ("day", "rollup"),
    ),
}
_HEADER = "# Written by `signal-pipeline dbt-sources`: print it again instead of editing it.\n"
# The check `no_day_waits` demands a build within one hour, and dbt warns after that hour. Yesterday
# is built at 00:30 UTC, so a rollup that still lacks yesterday at 03:00 UTC is an error.
_FRESHNESS = {
    "warn_after": {"count": 1, "period": "hour"},
    "error_after": {"count": 3, "period": "hour"},
}


def sources_yml(models: Models, catalogue: Catalogue, key_prefix: tuple[str, ...] = ()) -> str:
    """Return the text of a `sources.yml`: two tables per rollup, and the states of days.

    `key_prefix` is the prefix of our asset keys in Dagster.
    """
    source = {
        "name": SOURCE,
        "schema": SCHEMA,
        "description": "Daily numbers of Signal, privacy-first usage analytics. Days are UTC.",
        "tables": [
            _table(model, view, catalogue, key_prefix)
            for model in models.values()
            for view in reporting_views(model)
        ]
        + [_view_of_states(name, key_prefix) for name in _STATES],
    }
    return _HEADER + yaml.dump(
        {"version": 2, "sources": [source]},
        Dumper=_NoAliases,
        sort_keys=False,
        allow_unicode=True,
        width=80,  # Lines end at the first space after it.
    )


class _NoAliases(yaml.SafeDumper):
    """Writes equal values in full, since people read the file and cut tables out of it."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True


def _table(
    model: Model, view: ReportingView, catalogue: Catalogue, key_prefix: tuple[str, ...]
) -> dict[str, Any]:
    return {
        "name": view.name,
        "description": view.description,
        "config": {
            "tags": list(model.tags),
            "meta": {"owner": model.owner, **_dagster_meta(key_prefix, model.name)},
            "freshness": _FRESHNESS,
            "loaded_at_query": (
                f"select fresh_until from {SCHEMA}.rollup_freshness where rollup = '{model.name}'"
            ),
        },
        "columns": [
            {
                "name": column.name,
                "data_type": column.data_type,
                "description": column.description,
                "data_tests": _column_tests(model, column.source, catalogue),
            }
            for column in view.columns
        ],
        "data_tests": [_unique(view.name, view.grain)],
    }


def _view_of_states(name: str, key_prefix: tuple[str, ...]) -> dict[str, Any]:
    description, grain = _STATES[name]
    return {
        "name": name,
        "description": description,
        "config": {"meta": _dagster_meta(key_prefix, "raw_events")},
        "data_tests": [_unique(name, grain)],
    }


def _dagster_meta(key_prefix: tuple[str, ...], asset: str) -> dict[str, Any]:
    return {"dagster": {"asset_key": [*key_prefix, asset]}}


def _unique(name: str, grain: tuple[str, ...]) -> dict[str, Any]:
    """Return dbt's own `unique` over a row of the columns.

    The test takes an expression as the name of its column, so the dbt project needs no package of
    macros.
    """
    arguments = {"column_name": f"({', '.join(grain)})"}
    return {"unique": {"name": f"unique_{name}", "arguments": arguments}}


def _column_tests(model: Model, column: str | None, catalogue: Catalogue) -> list[Any]:
    """Return dbt's tests of a column; `column` is None if only the view has the column."""
    if column is None:
        return ["not_null"]
    tests: list[Any] = []
    for test in model.columns[column].tests:
        if isinstance(test, NotNull):
            tests.append("not_null")
        elif isinstance(test, AcceptedValues):
            values = [value for value in accepted_values(test, catalogue) if value != ALL_TYPES]
            tests.append({"accepted_values": {"arguments": {"values": values}}})
    return tests
