"""The one way to read YAML that people write for Signal.

Two equal keys, unknown keys and wrong types are refused.
Each problem names the line if it is known. The caller puts the file's name before it.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import yaml

try:  # libyaml is some six times as fast.
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML was built without it.
    from yaml import SafeLoader  # type: ignore[assignment]

Shape = TypeVar("Shape")
Key = str | int

MAX_DEPTH = 100

_KINDS = {
    "int": "a whole number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping of names to values",
}
_EXPECTED = re.compile(r"Expected `(\w+)(?: \| null)?`, got ")
_MISSING = re.compile(r"Object missing required field `(.*)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_PLACE = re.compile(r" - at `(?:key` in `)?\$(.*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")


class YamlError(Exception):
    """One line that says what is wrong in a file, such as `line 7: apps.cms: 'host' is missing`.

    `path` leads from the value that was read to the place of the problem.
    """

    def __init__(self, message: str, path: Sequence[Key] = ()) -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: plain values, and the lines that they are on."""

    value: Any
    _root: yaml.Node | None

    def line(self, *path: object) -> int:
        """Return the line, from 1, of the value under these keys and places in lists.

        If there is no such value, return the line of the innermost value on the way to it.
        """
        node, line = self._root, 1
        for step in path:
            found = _child(node, step)
            if found is None:
                break
            node, line = found
        return line

    def read(self, shape: type[Shape], *path: Key, where: str) -> Shape:
        """Return the value under these keys as this type; `where` names it in the error.

        Raises YamlError.
        """
        value = self.value
        for step in path:
            value = value[step]
        try:
            return read_value(value, shape, where=where)
        except YamlError as error:
            raise YamlError(f"line {self.line(*path, *error.path)}: {error}") from None


def read_value(value: object, shape: type[Shape], *, where: str) -> Shape:
    """Return a parsed value as this type; `where` names it in the error. Raises YamlError."""
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        text, path = _problem(str(error))
        separator = " " if text.startswith("must") else ": "
        raise YamlError(f"{where}{separator}{text}", path) from None


def parse_yaml(text: str) -> Document:
    """Parse a file's text into plain values; no tag can make anything else. Raises YamlError."""
    try:
        _refuse_deep_nesting(text)
        loader = _StrictLoader(text)
        try:
            root = loader.get_single_node()
            return Document(loader.construct_document(root) if root else None, root)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise YamlError(f"{line}is not valid YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: a date such as 2026-99-99
        raise YamlError("is not valid YAML") from None


def _refuse_deep_nesting(text: str) -> None:
    """Raise YamlError for nesting that would overflow the stack of the loader, which is C code."""
    depth = 0
    for event in yaml.parse(text, Loader=SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                assert event.start_mark  # The parser gives each event its place.
                line = event.start_mark.line + 1
                raise YamlError(f"line {line}: is nested more than {MAX_DEPTH} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _StrictLoader(SafeLoader):
    """YAML's safe loader, except that it refuses merge keys and two equal keys.

    PyYAML itself would keep the last of two equal keys.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                line = key_node.start_mark.line + 1
                raise YamlError(f"line {line}: merge keys (<<) are not read: repeat the keys")
            key = str(self.construct_object(key_node, deep=True))
            if key in seen:
                line = key_node.start_mark.line + 1
                raise YamlError(f"line {line}: the key {key!r} is there twice; remove one")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _child(node: yaml.Node | None, step: object) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        child = node.value[step]
        return child, child.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, child in node.value:
            if key.value == str(step):
                return child, key.start_mark.line + 1
    return None


def _problem(message: str) -> tuple[str, list[Key]]:
    """Return an error of msgspec's in our words, and the path from the value to the problem."""
    place = _PLACE.search(message)
    steps: list[Key] = [
        name or int(number) for name, number in _STEP.findall(place[1] if place else "")
    ]
    text = _PLACE.sub("", message)
    name = f"'{'.'.join(map(str, steps))}'" if steps else ""
    if missing := _MISSING.fullmatch(text):
        return f"{name}: '{missing[1]}' is missing".removeprefix(": "), steps
    if unknown := _UNKNOWN.fullmatch(text):
        said = f"{name}: unknown '{unknown[1]}'; check the spelling".removeprefix(": ")
        return said, [*steps, unknown[1]]
    expected = _EXPECTED.match(text)
    if expected and expected[1] in _KINDS:
        return f"{name} must be {_KINDS[expected[1]]}".strip(), steps
    return f"{name}: {text[0].lower()}{text[1:]}".removeprefix(": "), steps
