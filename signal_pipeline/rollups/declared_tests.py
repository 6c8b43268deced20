"""The tests that `schema.yml` declares for columns and models; `model_tests.py` runs them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from signal_pipeline.rollups.problem import Problem
from signal_pipeline.texts.strict_yaml import Shape, YamlError, read_value

_REFERENCE = re.compile(r"ref\('(\w+)'\)|source\('signal', '(\w+)'\)")


class NotNull(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The column is never null. The table has the same constraint."""


class AcceptedValues(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The column holds one of `values`, or a name from the catalogue.

    `catalogue` says from which part of the catalogue. Its retired names are included.
    """

    values: tuple[str, ...] = ()
    catalogue: Literal["apps", "event_types", "entity_types"] | None = None


class Relationships(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Each value of the column occurs in `field` of `to`, another model or a source table.

    `to` is written as dbt has it: `ref('a_model')` or `source('signal', 'a_table')`.
    """

    to: str
    field: str

    @property
    def table(self) -> str:
        """The name of the table in the schema `signal`; raises Problem."""
        found = _REFERENCE.fullmatch(self.to)
        if found is None:
            raise Problem(
                f"relationships: to is {self.to!r}; write ref('…') or source('signal', '…')"
            )
        return found[1] or found[2]


class Unique(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    rename={"columns": "combination_of_columns"},
):
    """No two rows agree in these columns: the model's grain, and the primary key of its table."""

    columns: tuple[str, ...]


class ReconcilesWith(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Per day, and per value of the columns `by`, `events` adds up to the same number as in `to`.

    `to` is `events` (the raw events that meet the condition `where`) or another rollup. Unless
    `event_type` is in `by`, only rows of the event type '(all)' are added up.
    """

    to: str
    by: tuple[str, ...] = ()
    where: str | None = None


# The name that dbt's users know; dbt_utils itself is not needed.
UNIQUE = "dbt_utils.unique_combination_of_columns"
ColumnTest = NotNull | AcceptedValues | Relationships
TableTest = Unique | ReconcilesWith

COLUMN_TESTS: Mapping[str, type[ColumnTest]] = {
    "not_null": NotNull,
    "accepted_values": AcceptedValues,
    "relationships": Relationships,
}
TABLE_TESTS: Mapping[str, type[TableTest]] = {
    UNIQUE: Unique,
    "reconciles_with": ReconcilesWith,
}


class _TestSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    arguments: dict[str, object] = {}


def read_test(
    entry: str | dict[str, object], kinds: Mapping[str, type[Shape]], where: str
) -> Shape:
    """Return the test, one of `kinds`, that an entry of `data_tests` names; raises Problem."""
    if isinstance(entry, dict) and len(entry) != 1:
        raise Problem(f"{where}: a test is a name, or one name with its arguments")
    name, settings = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
    if name not in kinds:
        raise Problem(f"{where}: unknown test {name!r}; there are {', '.join(kinds)}")
    try:
        arguments = read_value(settings, _TestSettings, where=f"{where}: test {name}").arguments
        return read_value(arguments, kinds[name], where=f"{where}: test {name}")
    except YamlError as error:
        raise Problem(str(error)) from None
