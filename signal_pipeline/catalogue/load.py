"""The catalogue: the apps, event types, entity types and id formats that Signal accepts.

The module reads `catalogue.yaml`, and refuses a file that is wrong in any way.
`events/acceptance.py` checks events against the catalogue.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import fastjsonschema
import msgspec

from signal_pipeline.errors import SignalError
from signal_pipeline.texts.strict_yaml import Document, YamlError, parse_yaml

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

    Its text is one line that names the file, and the entry if one is wrong.
    """


@dataclass(frozen=True, slots=True)
class App:
    """An app that sends events.

    `host` enters the user hash if neither a trusted proxy nor the line of a file states a host.
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
    """The whole checked file, including the retired entries.

    `id_formats` maps a name to a regular expression. It must match the whole id in its stored
    spelling (`events/ids.py`).
    """

    version: int
    apps: Mapping[str, App]
    event_types: Mapping[str, EventType]
    entity_types: Mapping[str, EntityType]
    id_formats: Mapping[str, str]


class _AppEntry(msgspec.Struct, forbid_unknown_fields=True):
    host: str
    retired: bool = False


class _EntityTypeEntry(msgspec.Struct, forbid_unknown_fields=True):
    id_format: str
    retired: bool = False


class _EventTypeEntry(msgspec.Struct, forbid_unknown_fields=True):
    owner: str
    purpose: str
    fires_when: str
    entity: str | None = None
    entity_required: bool | None = None
    description_schema: dict[str, Any] | None = None
    retired: bool = False


class _CatalogueFile(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    id_formats: dict[Any, Any]
    entity_types: dict[Any, Any]
    apps: dict[Any, Any]
    event_types: dict[Any, Any]


def load_catalogue(path: Path | None = None) -> Catalogue:
    """Read and check a catalogue file, or without a path the packaged one.

    Raises CatalogueError if the file cannot be read, or for the first mistake in it.
    """
    source = PACKAGED_CATALOGUE if path is None else path
    try:
        return _catalogue(parse_yaml(_text(source)))
    except (_EntryError, YamlError) as problem:
        raise CatalogueError(f"{source}: {problem}") from None


class _EntryError(Exception):
    """The error that says what is wrong in which entry; `load_catalogue` adds the file."""


def _text(source: Path) -> str:
    try:
        return source.read_text(encoding="utf-8")
    except OSError as error:
        raise _EntryError(f"cannot be read ({error.strerror}); check SIGNAL_CATALOGUE") from None
    except UnicodeDecodeError:
        raise _EntryError("is not UTF-8 text; save it as UTF-8") from None


def _catalogue(document: Document) -> Catalogue:
    version = document.read(_CatalogueFile, where="the file").version
    if version < 1:
        raise _EntryError(f"version is {version}; it counts from 1")
    formats = _section(document, "id_formats", _UNDERSCORED_NAME, Any, _id_format)
    entity_types = _section(
        document,
        "entity_types",
        _UNDERSCORED_NAME,
        _EntityTypeEntry,
        lambda name, entry: _entity_type(name, entry, formats),
    )
    apps = _section(document, "apps", _APP_NAME, _AppEntry, _app)
    event_types = _section(
        document,
        "event_types",
        _UNDERSCORED_NAME,
        _EventTypeEntry,
        lambda name, entry: _event_type(name, entry, entity_types),
    )
    return Catalogue(version, apps, event_types, entity_types, formats)


def _section(
    document: Document,
    section: str,
    names: re.Pattern[str],
    shape: Any,
    build: Callable[[str, Any], _Entry],
) -> Mapping[str, _Entry]:
    """Build the entries of a section one by one, in the order of the file."""
    built: dict[str, _Entry] = {}
    for name in document.value[section]:
        try:
            if not isinstance(name, str) or not names.fullmatch(name):
                raise _EntryError(f"{section}: the name {name!r} must match {names.pattern}")
            entry = document.read(shape, section, name, where=f"{section}.{name}")
            _check_not_blank(f"{section}.{name}", entry)
            built[name] = build(name, entry)
        except _EntryError as problem:
            raise _EntryError(f"line {document.line(section, name)}: {problem}") from None
    return MappingProxyType(built)


def _check_not_blank(where: str, entry: object) -> None:
    for field in getattr(entry, "__struct_fields__", ()):
        value = getattr(entry, field)
        if isinstance(value, str) and not value.strip():
            raise _EntryError(f"{where}: '{field}' is empty")


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


def _entity_type(name: str, entry: _EntityTypeEntry, formats: Mapping[str, str]) -> EntityType:
    if entry.id_format not in formats:
        raise _EntryError(
            f"entity_types.{name}: id_format {entry.id_format!r} is not in id_formats"
        )
    return EntityType(name, entry.id_format, entry.retired)


def _app(name: str, entry: _AppEntry) -> App:
    if not _HOST.fullmatch(entry.host):
        raise _EntryError(
            f"apps.{name}: host {entry.host!r} must be a host name in lower case, without scheme,"
            " port or final dot"
        )
    return App(name, entry.host, entry.retired)


def _event_type(
    name: str, entry: _EventTypeEntry, entity_types: Mapping[str, EntityType]
) -> EventType:
    where, entity = f"event_types.{name}", entry.entity
    required = entity is not None if entry.entity_required is None else entry.entity_required
    if not _OWNER.fullmatch(entry.owner):
        raise _EntryError(
            f"{where}: owner {entry.owner!r} must name a team, such as 'team:journeys'"
        )
    if entity is not None and entity not in entity_types:
        raise _EntryError(f"{where}: entity {entity!r} is not in entity_types")
    if entity is None and required:
        raise _EntryError(
            f"{where}: entity_required is true but no entity is named; name one, or remove it"
        )
    if entry.description_schema is not None:
        _check_schema(where, entry.description_schema)
    return EventType(
        name,
        entry.owner,
        entry.purpose,
        entry.fires_when,
        entity,
        required,
        entry.description_schema,
        entry.retired,
    )


def _check_schema(where: str, schema: dict[str, object]) -> None:
    if schema.get("type") != "object":
        raise _EntryError(
            f"{where}: description_schema must say 'type: object', as every description is"
        )
    try:
        if _refers_elsewhere(schema):
            # fastjsonschema would fetch the document over the network.
            raise ValueError("a $ref to another document; only '#/...' is possible")
        _refuse_what_json_cannot_hold(schema, "description_schema")
        fastjsonschema.compile(schema)
    # fastjsonschema can raise anything, such as AttributeError or re.error.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise _EntryError(f"{where}: description_schema is not usable: {reason}") from None


def _refuse_what_json_cannot_hold(value: object, place: str) -> None:
    """Raise ValueError, which names the place, for a value that only YAML knows, such as a date.

    fastjsonschema would accept a schema with such a value, and then fail or never match when it
    checks a description.
    """
    if isinstance(value, dict):
        for key, part in value.items():
            if not isinstance(key, str):
                raise ValueError(f"the key {key} in {place} is not a text: put it in quotes")
            _refuse_what_json_cannot_hold(part, f"{place}.{key}")
    elif isinstance(value, list):
        for number, part in enumerate(value):
            _refuse_what_json_cannot_hold(part, f"{place}[{number}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{place} is {value}, which is no number in JSON")
    elif not isinstance(value, str | int | float | None):
        kind = type(value).__name__
        raise ValueError(f"{place} is a {kind}, which JSON does not have: put it in quotes")


def _refers_elsewhere(schema: object) -> bool:
    if isinstance(schema, dict):
        reference = schema.get("$ref", "#")
        outside = isinstance(reference, str) and not reference.startswith("#")
        return outside or any(_refers_elsewhere(part) for part in schema.values())
    return isinstance(schema, list) and any(_refers_elsewhere(part) for part in schema)
