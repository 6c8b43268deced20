"""The keys by which a report can be asked: each with its column and its SQL over raw events."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import LiteralString, TypeVar

from signal_pipeline.reports.of_rollups import QuestionError

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Key:
    """A key: the name that the command takes, the column that tables show, and its SQL.

    `raw` is the SQL expression over `signal.events`.
    """

    name: str
    column: str
    raw: LiteralString


KEYS: Mapping[str, Key] = {
    key.name: key
    for key in (
        Key("day", "activity_date", "(created_at at time zone 'UTC')::date"),
        Key("app", "app_name", "app_name"),
        Key("event-type", "event_type", "event_type"),
        Key("route", "route", "coalesce(route, '(none)')"),
        Key("entity-type", "entity_type", "coalesce(entity_type, '(none)')"),
        Key("entity", "entity_id", "coalesce(entity_id, '(none)')"),
        Key("device", "device_type", "device_type"),
        Key("browser", "browser_family", "browser_family"),
        Key("os", "os_family", "os_family"),
    )
}
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def find_keys(texts: Iterable[str]) -> list[Key]:
    """Return the keys, each once, in the order given; raises QuestionError.

    A key is found by its name or its column, however the words are joined: `event-type`,
    `event_type`, `eventType`.
    """
    return list({(key := _find(text)).name: key for text in texts}.values())


def by_key(pairs: Sequence[tuple[str, Value]]) -> dict[str, Value]:
    """Return values by the names of their keys; raises QuestionError, also for a repeated key."""
    found: dict[str, Value] = {}
    for text, value in pairs:
        key = _find(text)
        if key.name in found:
            raise QuestionError(f"{key.name} is filtered twice: a filter is one value")
        found[key.name] = value
    return found


def _find(text: str) -> Key:
    words = _HUMP.sub("_", text.strip()).replace("-", "_").lower()
    for key in KEYS.values():
        if words in (key.name.replace("-", "_"), key.column):
            return key
    raise QuestionError(f"unknown key {text!r}: choose from {', '.join(KEYS)}")
