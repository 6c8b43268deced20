"""The catalogue: the apps, event types, entity types and id formats that Signal accepts.

The module reads `catalogue.yaml`, and refuses a file that is wrong in any way.
`events/acceptance.py` checks events against the catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import fastjsonschema
import yaml

from signal_pipeline.errors import SignalError

PACKAGED_CATALOGUE = Path(__file__).with_name("catalogue.yaml")

# Reserved labels such as "(all)", "(none)", "(unknown)" and "(other)" have brackets: no name can
# equal one.
_UNDERSCORED_NAME = re.compile(r"[a-z0-9_]{1,64}")
_APP_NAME = re.compile(r"[a-z0-9-]{1,64}")
_OWNER = re.compile(r"team:[a-z0-9][a-z0-9_-]*")
_HOST = re.compile(r"(?=.{1,255}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")

_Entry = TypeVar("_Entry")


class CatalogueError(SignalError):
    """The error for a catalogue file that cannot be used.

    Its text is one line that names the file and the entry.
    """


@dataclass(frozen=True, slots=True)
class App:
    """An app that sends events.

    `host` enters the user hash if no trusted proxy forwards a host.
    """

    name: str
    host: str
    retired: bool


@dataclass(frozen=True, slots=True)
class EntityType:
    """A kind of thing that an event can be about.

    `id_format` names an entry of `Catalogue.id_formats`.
    """

    name: str
    id_format: str
    retired: bool


@dataclass(frozen=True, slots=True)
class EventType:
    """A kind of event.

    `entity` and `entity_required` document what is usual; no event is dropped because of them
    (requirement 3.3). `description_schema` is a JSON Schema for an object, or None.
    """

    name: str
    owner: str
    purpose: str
    fires_when: str
    entity: str | None
    entity_required: bool
    description_schema: Mapping[str, object] | None
    retired: bool


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The whole checked file, with retired entries.

    `id_formats` maps a name to a regular expression, which must match the whole lower-cased value.
    """

    version: int
    apps: Mapping[str, App]
    event_types: Mapping[str, EventType]
    entity_types: Mapping[str, EntityType]
    id_formats: Mapping[str, str]


def load_catalogue(path: Path | None = None) -> Catalogue:
    """Read and check a catalogue file, or without a path the packaged one.

    Raises CatalogueError if the file cannot be read, or for the first mistake in it.
    """
    source = PACKAGED_CATALOGUE if path is None else path
    try:
        return _catalogue(_parse(source))
    except _EntryError as problem:
        raise CatalogueError(f"{source}: {problem}") from None


class _EntryError(Exception):
    """The error that says what is wrong in which entry; `load_catalogue` adds the file."""


class _StrictLoader(yaml.SafeLoader):
    """YAML's safe loader, except that it refuses two equal keys instead of keeping the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(self.construct_object(key_node, deep=True))
            if key in seen:
                raise _EntryError(
                    f"line {key_node.start_mark.line + 1}: the key {key!r} occurs twice; remove one"
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _parse(source: Path) -> object:
    try:
        text = source.read_text(encoding="utf-8")
    except OSError as error:
        raise _EntryError(f"cannot be read ({error.strerror}); check SIGNAL_CATALOGUE") from None
    except UnicodeDecodeError:
        raise _EntryError("is not UTF-8 text; save it as UTF-8") from None
    try:
        # The loader is a subclass of SafeLoader: no tag can make anything but plain values.
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise _EntryError(f"{line}is not valid YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: a date such as 2026-99-99
        raise _EntryError("is not valid YAML") from None


def _catalogue(document: object) -> Catalogue:
    root = _Fields("the file", document)
    version = root.take("version", int)
    formats = root.entries("id_formats", _UNDERSCORED_NAME, _id_format)
    entity_types = root.entries(
        "entity_types", _UNDERSCORED_NAME, lambda name, raw: _entity_type(name, raw, formats)
    )
    apps = root.entries("apps", _APP_NAME, _app)
    event_types = root.entries(
        "event_types", _UNDERSCORED_NAME, lambda name, raw: _event_type(name, raw, entity_types)
    )
    root.finish()
    if version < 1:
        raise _EntryError(f"version is {version}; it counts from 1")
    return Catalogue(version, apps, event_types, entity_types, formats)


def _id_format(name: str, raw: object) -> str:
    where = f"id_formats.{name}"
    if not isinstance(raw, str):
        raise _EntryError(f"{where} must be a regular expression in quotes")
    try:
        pattern = re.compile(raw)
    except (re.error, RecursionError, OverflowError) as error:
        raise _EntryError(f"{where} is not a valid regular expression: {error}") from None
    if pattern.fullmatch(""):
        raise _EntryError(f"{where} matches an empty id; require at least one character")
    return raw


def _entity_type(name: str, raw: object, formats: Mapping[str, str]) -> EntityType:
    fields = _Fields(f"entity_types.{name}", raw)
    id_format = fields.take("id_format", str)
    retired = fields.take("retired", bool, False)
    fields.finish()
    if id_format not in formats:
        raise _EntryError(f"entity_types.{name}: id_format {id_format!r} is not in id_formats")
    return EntityType(name, id_format, retired)


def _app(name: str, raw: object) -> App:
    fields = _Fields(f"apps.{name}", raw)
    host = fields.take("host", str)
    retired = fields.take("retired", bool, False)
    fields.finish()
    if not _HOST.fullmatch(host):
        raise _EntryError(
            f"apps.{name}: host {host!r} must be a host name in lower case, without scheme, port or"
            " final dot"
        )
    return App(name, host, retired)


def _event_type(name: str, raw: object, entity_types: Mapping[str, EntityType]) -> EventType:
    where = f"event_types.{name}"
    fields = _Fields(where, raw)
    owner = fields.take("owner", str)
    purpose = fields.take("purpose", str)
    fires_when = fields.take("fires_when", str)
    entity = fields.take("entity", str, None)
    entity_required = fields.take("entity_required", bool, entity is not None)
    schema = fields.take("description_schema", dict, None)
    retired = fields.take("retired", bool, False)
    fields.finish()
    if not _OWNER.fullmatch(owner):
        raise _EntryError(f"{where}: owner {owner!r} must name a team, such as 'team:journeys'")
    if entity is not None and entity not in entity_types:
        raise _EntryError(f"{where}: entity {entity!r} is not in entity_types")
    if entity is None and entity_required:
        raise _EntryError(
            f"{where}: entity_required is true but no entity is named; name one, or remove it"
        )
    if schema is not None:
        _check_schema(where, schema)
    return EventType(name, owner, purpose, fires_when, entity, entity_required, schema, retired)


def _check_schema(where: str, schema: dict[str, object]) -> None:
    if schema.get("type") != "object":
        raise _EntryError(
            f"{where}: description_schema must say 'type: object', as every description is"
        )
    try:
        if _refers_elsewhere(schema):
            # fastjsonschema would fetch the document over the network.
            raise ValueError("a $ref to another document; only '#/...' is possible")
        fastjsonschema.compile(schema)
    except Exception as error:  # Its generator can raise anything, such as AttributeError, re.error
        reason = " ".join(str(error).split())
        raise _EntryError(f"{where}: description_schema is not usable: {reason}") from None


def _refers_elsewhere(schema: object) -> bool:
    if isinstance(schema, dict):
        reference = schema.get("$ref", "#")
        outside = isinstance(reference, str) and not reference.startswith("#")
        return outside or any(_refers_elsewhere(part) for part in schema.values())
    return isinstance(schema, list) and any(_refers_elsewhere(part) for part in schema)


class _Fields:
    """The keys of one entry. Each is taken once, with its type; `finish` refuses any other key."""

    def __init__(self, where: str, raw: object) -> None:
        if not isinstance(raw, dict):
            raise _EntryError(f"{where} must be a mapping of names to values")
        self._where = where
        self._left: dict[object, Any] = dict(raw)

    def take(self, key: str, kind: type, *default: Any) -> Any:
        """Take the value of a key, which must be of exactly this type (a bool is not an int).

        A text may not be blank.
        """
        if key not in self._left:
            if default:
                return default[0]
            raise _EntryError(f"{self._where}: '{key}' is missing")
        value = self._left.pop(key)
        if type(value) is not kind:
            raise _EntryError(f"{self._where}: '{key}' must be {_KINDS[kind]}")
        if isinstance(value, str) and not value.strip():
            raise _EntryError(f"{self._where}: '{key}' is empty")
        return value

    def entries(
        self, key: str, pattern: re.Pattern[str], build: Callable[[str, object], _Entry]
    ) -> Mapping[str, _Entry]:
        """Build the entries of a section one by one, in the order of the file."""
        built: dict[str, _Entry] = {}
        for name, raw in self.take(key, dict).items():
            if not isinstance(name, str) or not pattern.fullmatch(name):
                raise _EntryError(f"{key}: the name {name!r} must match {pattern.pattern}")
            built[name] = build(name, raw)
        return MappingProxyType(built)

    def finish(self) -> None:
        if self._left:
            unknown = ", ".join(repr(key) for key in self._left)
            raise _EntryError(f"{self._where}: unknown {unknown}; check the spelling")


_KINDS = {
    int: "a whole number",
    str: "a text",
    bool: "true or false",
    dict: "a mapping of names to values",
}
