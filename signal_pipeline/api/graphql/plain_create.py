"""A fast path for the document that nearly every request sends.

`mutation ($name: EventCreateInput!) { eventCreate(input: $name) { FIELDS } }`, with any names and
aliases.

GraphQL's executor takes ten times as long for it. Types, names and scalars come from the schema.
Every other document, and every input that is not plainly good, goes to the executor, which also
says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter

from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    VariableNode,
    get_named_type,
    is_non_null_type,
    located_error,
    print_ast,
)

from signal_pipeline.api.graphql.context import RequestContext
from signal_pipeline.api.graphql.types import Event, EventCreateInput
from signal_pipeline.api.requests import Call

Resolver = Callable[[RequestContext, EventCreateInput], Awaitable[Event | None]]
Reader = Callable[[Event], object]


@dataclass(frozen=True, slots=True)
class _Given:
    """A field of the input: its name in Python, and which values it takes."""

    name: str
    required: bool
    text: bool

    def takes(self, value: object) -> bool:
        return (
            type(value) is str
            if self.text and value is not None
            else value is not None or not self.required
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan by which one document is answered."""

    operation: str | None
    variable: str
    field: FieldNode
    key: str
    readers: tuple[tuple[str, Reader], ...]


class PlainCreate:
    """The planner and runner of plain documents of a schema."""

    def __init__(self, schema: GraphQLSchema, resolve: Resolver) -> None:
        taken, event = schema.get_type(EventCreateInput.__name__), schema.get_type(Event.__name__)
        assert isinstance(taken, GraphQLInputObjectType)
        assert isinstance(event, GraphQLObjectType)
        self._resolve = resolve
        self._given = {
            name: _Given(
                _python_name(field),
                is_non_null_type(field.type),
                get_named_type(field.type).name in ("String", "ID"),
            )
            for name, field in taken.fields.items()
        }
        self._required = {name for name, given in self._given.items() if given.required}
        self._readers = {
            "__typename": lambda _: Event.__name__,
            **{
                name: _reader(_python_name(field), get_named_type(field.type))
                for name, field in event.fields.items()
            },
        }

    def plan(self, document: DocumentNode) -> Plan | None:
        """Return the plan of a valid document, or None if the document is not plain."""
        operation = document.definitions[0]
        if len(document.definitions) != 1 or not isinstance(operation, OperationDefinitionNode):
            return None
        if (
            operation.operation is not OperationType.MUTATION
            or len(operation.selection_set.selections) != 1
        ):
            return None
        field = operation.selection_set.selections[0]
        if (
            not isinstance(field, FieldNode)
            or field.name.value != "eventCreate"
            or field.selection_set is None
        ):
            return None
        value = field.arguments[0].value
        variables = [print_ast(each) for each in operation.variable_definitions or ()]
        if not isinstance(value, VariableNode) or variables != [
            f"${value.name.value}: EventCreateInput!"
        ]:
            return None
        fields = [each for each in field.selection_set.selections if isinstance(each, FieldNode)]
        readers = {_key(each): self._readers[each.name.value] for each in fields}
        # A document with a fragment, a field that is requested twice, or a directive is not plain.
        directives = [
            *operation.directives,
            *(each for one in (field, *fields) for each in one.directives),
        ]
        if directives or len(readers) != len(field.selection_set.selections):
            return None
        name = operation.name.value if operation.name else None
        return Plan(name, value.name.value, field, _key(field), tuple(readers.items()))

    def input_of(self, plan: Plan, call: Call) -> EventCreateInput | None:
        """Return the input of a call, or None if it is not plainly good."""
        stated = (call.variables or {}).get(plan.variable)
        if call.operation_name not in (None, plan.operation) or not isinstance(stated, Mapping):
            return None
        if not self._required <= stated.keys() <= self._given.keys():
            return None
        fields = {}
        for name, value in stated.items():
            given = self._given[name]
            if not given.takes(value):
                return None
            fields[given.name] = value
        return EventCreateInput(**fields)

    async def run(
        self, plan: Plan, given: EventCreateInput, context: RequestContext
    ) -> ExecutionResult:
        """Return the result of a call with this input, as the executor would."""
        try:
            event = await self._resolve(context, given)
        except Exception as error:
            return ExecutionResult(
                {plan.key: None}, [located_error(error, [plan.field], [plan.key])]
            )
        shown = None if event is None else {key: read(event) for key, read in plan.readers}
        return ExecutionResult({plan.key: shown}, None)


def _key(field: FieldNode) -> str:
    return (field.alias or field.name).value


def _python_name(field: object) -> str:
    # Strawberry attaches its own field to each of graphql-core's.
    return str(field.extensions["strawberry-definition"].python_name)  # type: ignore[attr-defined]


def _reader(name: str, scalar: object) -> Reader:
    assert isinstance(scalar, GraphQLScalarType)
    read, serialize = attrgetter(name), scalar.serialize

    def reader(event: Event) -> object:
        value = read(event)
        return None if value is None else serialize(value)

    return reader
