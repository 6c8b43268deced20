"""The keys that a report can group and filter by: the only list of them.

Commands, reports, small cells and shell completion read it. A GraphQL schema has to spell out each
name, so a test compares `StatsKey` and `StatsFilter` of `api/graphql/types.py` with this list.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, LiteralString, TypeVar

from signal_pipeline.catalogue.load import Catalogue
from signal_pipeline.events.browsers import BROWSER_FAMILIES, OS_FAMILIES
from signal_pipeline.events.devices import DEVICE_TYPES
from signal_pipeline.events.ids import NO_VALUE
from signal_pipeline.reports.report_errors import QuestionError

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a report.

    Attributes:
        name: what the command takes. The GraphQL enum `StatsKey` has it in capitals, with `_`.
        column: its column in rollups, in reports and, except for the day, in `signal.events`.
        kind: `group` if every rollup has it, `split` if one rollup splits groups by it, `entity` if
            it names entities.
        raw: its SQL expression over `signal.events`.
        values: all values that it can have, where they are a closed list.
    """

    name: str
    column: str
    kind: Literal["group", "split", "entity"]
    raw: LiteralString
    values: Callable[[Catalogue], Collection[str]] | None = None


KEYS: Mapping[str, Key] = {
    key.name: key
    for key in (
        Key("day", "activity_date", "group", "(created_at at time zone 'UTC')::date"),
        Key("app", "app_name", "group", "app_name", lambda catalogue: catalogue.apps),
        Key(
            "event-type",
            "event_type",
            "group",
            "event_type",
            lambda catalogue: catalogue.event_types,
        ),
        Key("route", "route", "split", "coalesce(route, '(none)')"),
        Key(
            "entity-type",
            "entity_type",
            "entity",
            "coalesce(entity_type, '(none)')",
            lambda catalogue: [*catalogue.entity_types, NO_VALUE],
        ),
        Key("entity", "entity_id", "entity", "coalesce(entity_id, '(none)')"),
        Key("device", "device_type", "split", "device_type", lambda _: DEVICE_TYPES),
        Key("browser", "browser_family", "split", "browser_family", lambda _: BROWSER_FAMILIES),
        Key("os", "os_family", "split", "os_family", lambda _: OS_FAMILIES),
    )
}
GROUPS, SPLITS = (
    tuple(key.column for key in KEYS.values() if key.kind == kind) for kind in ("group", "split")
)
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def rollup_name(kind: str) -> str:
    """Return the name of the rollup that a report calls `kind`."""
    return f"daily_{kind}_activity"


def rollup_kinds(models: Iterable[str]) -> list[str]:
    """Return what a report calls each of these rollups."""
    return [name.removeprefix("daily_").removesuffix("_activity") for name in models]


def find_keys(texts: Iterable[str]) -> list[Key]:
    """Return the keys, each once, in the order given; raises QuestionError.

    A key is found by its name or its column, however the words are joined: `event-type`,
    `event_type`, `eventType`.
    """
    return list({(key := _find_key(text)).name: key for text in texts}.values())


def values_by_key(pairs: Sequence[tuple[str, Value]]) -> dict[str, Value]:
    """Return values by the names of their keys; raises QuestionError, also for a repeated key."""
    found: dict[str, Value] = {}
    for text, value in pairs:
        key = _find_key(text)
        if key.name in found:
            raise QuestionError(f"{key.name} is filtered twice: a filter is one value")
        found[key.name] = value
    return found


def _find_key(text: str) -> Key:
    words = _HUMP.sub("_", text.strip()).replace("-", "_").lower()
    for key in KEYS.values():
        if words in (key.name.replace("-", "_"), key.column):
            return key
    raise QuestionError(f"unknown key {text!r}: choose from {', '.join(KEYS)}")
