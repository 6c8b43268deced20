"""Plain fields: attributes of an object that need no resolver, and the fast way to read them.

GraphQL's executor takes some 5 µs for each field of each row: it makes a path, an info object and
arguments, although the field is an attribute. Most fields of an answer are in its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from operator import attrgetter
from typing import Any

from graphql import (
    ExecutionContext,
    FieldNode,
    GraphQLField,
    GraphQLList,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLResolveInfo,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_object_type,
)
from graphql.pyutils import AwaitableOrValue, Path

Reader = Callable[[Any], object]


class PlainRows(ExecutionContext):
    """An execution that reads the rows of a list at once, if all their fields are plain."""

    def complete_list_value(
        self,
        return_type: GraphQLList[GraphQLOutputType],
        field_nodes: list[FieldNode],
        info: GraphQLResolveInfo,
        path: Path,
        result: Any,
    ) -> AwaitableOrValue[list[Any]]:
        """Return the rows as the executor would."""
        row_type: Any = return_type.of_type
        if is_non_null_type(row_type):
            row_type = row_type.of_type
        if is_object_type(row_type) and isinstance(result, list):
            # Anything unusual is left to the executor: a field that is not plain, or a value that
            # the schema does not allow. The executor says which row and field are at fault.
            with suppress(Exception):
                kind = row_type.extensions["strawberry-definition"].origin
                readers = self._readers(row_type, field_nodes)
                # A null row fails only when an attribute is read, and a selection such as
                # `__typename` reads none. So each row is checked first.
                if all(isinstance(row, kind) for row in result):
                    return [{key: read(row) for key, read in readers} for row in result]
        return super().complete_list_value(return_type, field_nodes, info, path, result)

    def _readers(
        self, row_type: GraphQLObjectType, field_nodes: list[FieldNode]
    ) -> list[tuple[str, Reader]]:
        """Return a row's keys and their readers. Raises KeyError for a field that is not plain."""
        plain = field_readers(row_type)
        selected = self.collect_subfields(row_type, field_nodes)
        return [(key, plain[nodes[0].name.value]) for key, nodes in selected.items()]


@lru_cache
def field_readers(object_type: GraphQLObjectType) -> Mapping[str, Reader]:
    """Return, for each plain field of a type, a reader that serialises it as the schema says.

    A reader raises TypeError for a null that the schema does not allow, and for anything but a list
    where the schema has a list.
    """
    plain = {name: _field_reader(field) for name, field in object_type.fields.items()}
    readers = {name: read for name, read in plain.items() if read is not None}
    return {"__typename": lambda _: object_type.name, **readers}


def _field_reader(field: GraphQLField) -> Reader | None:
    # Strawberry attaches its own field to each of graphql-core's, except those of introspection.
    definition = field.extensions.get("strawberry-definition")
    if definition is None or not definition.is_basic_field:
        return None
    return _reader(attrgetter(definition.python_name), field.type)


def _reader(get: Reader, wanted: Any) -> Reader | None:
    """Return a function that gets a value and serialises it.

    Return None if the type is neither a leaf nor a list of leaves.
    """
    serialise = _serialiser(get_nullable_type(wanted))
    if serialise is None:
        return None

    def read_required(row: object) -> object:
        value = get(row)
        if value is None:
            raise TypeError("null")
        return serialise(value)

    def read_optional(row: object) -> object:
        value = get(row)
        return None if value is None else serialise(value)

    return read_required if is_non_null_type(wanted) else read_optional


def _serialiser(wanted: Any) -> Reader | None:
    if is_leaf_type(wanted):
        serialise: Reader = wanted.serialize
        return serialise
    if not is_list_type(wanted):
        return None
    read_item = _reader(lambda item: item, wanted.of_type)
    if read_item is None:
        return None

    def serialise_items(items: object) -> object:
        if not isinstance(items, list):  # A text can be iterated over too, but is no list.
            raise TypeError("no list")
        return [read_item(item) for item in items]

    return serialise_items
