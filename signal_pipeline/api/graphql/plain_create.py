"""A fast path for the document that nearly every request sends.

A document is plain if it has this form, with any names and aliases:
`mutation ($name: EventCreateInput!) { eventCreate(input: $name) { FIELDS } }`

For a plain document, GraphQL's executor takes ten times as long as this fast path. The types, names
and scalars of the fast path come from the schema. Every other document, and every input that is not
obviously valid, goes to the executor, which also says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    GraphQLInputObjectType,
    GraphQLObjectType,
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
from signal_pipeline.api.graphql.plain_fields import Reader, field_readers
from signal_pipeline.api.graphql.types import Event, EventCreateInput
from signal_pipeline.api.graphql.writing import create_event
from signal_pipeline.api.requests import Call


@dataclass(frozen=True, slots=True)
class _InputField:
    """A field of the input: its name in Python, and which values are obviously valid."""

    python_name: str
    required: bool
    is_text: bool

    def accepts(self, value: object) -> bool:
        if value is None:
            return not self.required
        return type(value) is str if self.is_text else True


@dataclass(frozen=True, slots=True)
class PlainCreate:
    """A plain document, prepared once and then answered for every request that sends it."""

    operation_name: str | None
    variable: str
    field: FieldNode
    key: str
    readers: tuple[tuple[str, Reader], ...]
    input_fields: Mapping[str, _InputField]

    async def try_run(self, call: Call, context: RequestContext) -> ExecutionResult | None:
        """Return the result that the executor would give, or None if the executor must decide."""
        event_input = self._event_input(call)
        if event_input is None:
            return None
        try:
            event = await create_event(context, event_input)
        except Exception as error:
            return ExecutionResult(
                {self.key: None}, [located_error(error, [self.field], [self.key])]
            )
        fields = None if event is None else {key: read(event) for key, read in self.readers}
        return ExecutionResult({self.key: fields}, None)

    def _event_input(self, call: Call) -> EventCreateInput | None:
        """Return the input of a call, or None if it is not obviously valid."""
        variable = (call.variables or {}).get(self.variable)
        if call.operation_name not in (None, self.operation_name):
            return None
        if not isinstance(variable, Mapping) or not variable.keys() <= self.input_fields.keys():
            return None
        arguments = {}
        for name, field in self.input_fields.items():
            if name in variable:
                if not field.accepts(variable[name]):
                    return None
                arguments[field.python_name] = variable[name]
            elif field.required:
                return None
        return EventCreateInput(**arguments)


class PlainCreates:
    """Recognises the plain documents of a schema."""

    def __init__(self, schema: GraphQLSchema) -> None:
        input_type = schema.get_type(EventCreateInput.__name__)
        event_type = schema.get_type(Event.__name__)
        assert isinstance(input_type, GraphQLInputObjectType)
        assert isinstance(event_type, GraphQLObjectType)
        self._input_fields = {
            name: _InputField(
                field.extensions["strawberry-definition"].python_name,
                is_non_null_type(field.type),
                get_named_type(field.type).name in ("String", "ID"),
            )
            for name, field in input_type.fields.items()
        }
        self._readers = field_readers(event_type)

    def recognise(self, document: DocumentNode) -> PlainCreate | None:
        """Return the fast path for a valid document, or None if the document is not plain.

        A document is not plain if it has a fragment, a directive, or two fields that would have the
        same name in the answer.
        """
        operation = _only_mutation(document)
        field = None if operation is None else _only_event_create(operation)
        if operation is None or field is None or field.selection_set is None:
            return None
        argument = field.arguments[0].value
        definitions = [print_ast(node) for node in operation.variable_definitions or ()]
        if not isinstance(argument, VariableNode):
            return None
        if definitions != [f"${argument.name.value}: EventCreateInput!"]:
            return None
        selections = field.selection_set.selections
        fields = [node for node in selections if isinstance(node, FieldNode)]
        readers = {_key(node): self._readers[node.name.value] for node in fields}
        if operation.directives or any(node.directives for node in (field, *fields)):
            return None
        if len(readers) != len(selections):
            return None
        return PlainCreate(
            operation.name.value if operation.name else None,
            argument.name.value,
            field,
            _key(field),
            tuple(readers.items()),
            self._input_fields,
        )


def _only_mutation(document: DocumentNode) -> OperationDefinitionNode | None:
    """Return the mutation if a document holds nothing else, or None."""
    (operation, *others) = document.definitions
    if others or not isinstance(operation, OperationDefinitionNode):
        return None
    return operation if operation.operation is OperationType.MUTATION else None


def _only_event_create(mutation: OperationDefinitionNode) -> FieldNode | None:
    """Return the field `eventCreate` if it is the only selection of a mutation, else None."""
    (field, *others) = mutation.selection_set.selections
    if others or not isinstance(field, FieldNode):
        return None
    return field if field.name.value == "eventCreate" else None


def _key(field: FieldNode) -> str:
    return (field.alias or field.name).value
