"""The catalogue as TypeScript for `client/src/events.ts`, so that a wrong call does not compile.

The result is types only, without code. Only the server checks what a type cannot say, such as a
length or a pattern. If the schema of a description names keys, the client allows only these keys.
There it is stricter than the server, which lets unknown keys pass unless the schema forbids them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence

from signal_pipeline.catalogue.load import Catalogue, EventType
from signal_pipeline.texts.printable import printable

_HEADER = """\
// Made by `make client-types` from the catalogue (version {version}).
// Do not edit: change the catalogue, and make it anew.
"""
_ENTITY = """\
/**
 * What an event is about. An id that is not in its type's format, or is the nil or max UUID, makes
 * the server drop the event.
 */
export interface Entity<Type extends EntityType> {
  readonly type: Type;
  readonly id: string;
}
"""
_PLAIN_KEY = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_SCALARS = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "null": "null",
}


def typescript_types(catalogue: Catalogue) -> str:
    """Return the text of `events.ts`.

    Retired entries are left out, so that calls that use them no longer compile.
    """
    apps = [app.name for app in catalogue.apps.values() if not app.retired]
    entities = [entity.name for entity in catalogue.entity_types.values() if not entity.retired]
    kinds = [kind for kind in catalogue.event_types.values() if not kind.retired]
    return "\n".join(
        [
            _HEADER.format(version=catalogue.version),
            f"/** The apps that send events. */\nexport type AppName = {_union(apps)};\n",
            (
                "/** The kinds of thing an event can be about. */\nexport type EntityType ="
                f" {_union(entities)};\n"
            ),
            _ENTITY,
            "/** Each event type, and what goes with it. */\nexport interface EventFields {",
            *(_event(kind, entities) for kind in kinds),
            "}\n",
            (
                "/** The event types that are not retired. */\nexport type EventType = keyof"
                " EventFields;\n"
            ),
        ]
    )


def _event(kind: EventType, entities: Sequence[str]) -> str:
    optional = "" if kind.entity_required else "?"
    known = kind.entity is not None and kind.entity in entities
    entity = f"entity{optional}: Entity<{json.dumps(kind.entity)}>" if known else "entity?: never"
    schema = kind.description_schema
    if schema is None:
        description = "description?: never"
    else:
        description = f"description{'' if schema.get('required') else '?'}: {_type(schema)}"
    comment = _comment(f"{kind.fires_when} {kind.purpose} Owner: {kind.owner}.")
    return f"  {comment}\n  {kind.name}: {{ {entity}; {description} }};"


def _type(schema: object) -> str:
    """Return a JSON Schema as a type.

    Where TypeScript cannot say the same, the type is wider. At worst, it is `unknown`.
    """
    if not isinstance(schema, Mapping):
        return "unknown"
    if "const" in schema:
        return _union([schema["const"]])
    if isinstance(schema.get("enum"), list):
        return _union(schema["enum"])
    kind = schema.get("type")
    if isinstance(kind, list):
        return " | ".join(_type({**schema, "type": each}) for each in kind) or "unknown"
    if kind == "array":
        return f"readonly ({_type(schema.get('items'))})[]"
    if kind == "object":
        return _object(schema)
    return _SCALARS.get(str(kind), "unknown")


def _object(schema: Mapping[str, object]) -> str:
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, Mapping) or not properties:
        return "{ readonly [key: string]: unknown }"
    needed = required if isinstance(required, list) else []
    fields = (
        f"{_limit(value)}readonly {_key(str(name))}{'' if name in needed else '?'}: {_type(value)}"
        for name, value in properties.items()
    )
    return f"{{ {'; '.join(fields)} }}"


def _limit(schema: object) -> str:
    longest = schema.get("maxLength") if isinstance(schema, Mapping) else None
    return f"/** At most {longest} characters. */ " if isinstance(longest, int) else ""


def _key(name: str) -> str:
    return name if _PLAIN_KEY.fullmatch(name) else json.dumps(name)


def _union(values: Iterable[object]) -> str:
    """Return a union of literal types, with `unknown` in place of an object or a list."""
    literals = [
        "unknown" if isinstance(value, (dict, list)) else json.dumps(value) for value in values
    ]
    return " | ".join(literals) or "never"


def _comment(text: str) -> str:
    return f"/** {printable(' '.join(text.split())).replace('*/', '* /')} */"
