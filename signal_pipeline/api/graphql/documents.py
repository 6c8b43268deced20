"""GraphQL documents, which are parsed, validated and bounded once per text, then run.

Strawberry's own `execute` is not used: it makes its extensions anew for each request, which took a
third of the time of an event.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from inspect import isawaitable
from typing import Any

import strawberry
from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    execute,
    parse,
    specified_rules,
    validate,
)
from graphql.validation import ValidationRule

from signal_pipeline.api.graphql.context import RequestContext
from signal_pipeline.api.graphql.plain_create import PlainCreate, PlainCreates
from signal_pipeline.api.graphql.plain_fields import PlainRows
from signal_pipeline.api.requests import Call

MAX_TOKENS = 2_000
MAX_ALIASES = 40  # The gateway adds one per root field when it merges requests.
MAX_FIELDS = 200
MAX_SPREADS = 10
MAX_INLINE = 10
MAX_REPEATS = 20  # Fields that share a name: GraphQL compares each with every other.
MAX_ERRORS = 5  # For each error, GraphQL looks for similar names.
MAX_DEPTH = 16  # The introspection query of graphql-core has 10.
CACHED_DOCUMENTS = 256
CACHED_CHARACTERS = 8_192  # A longer text has values in it, so the same text does not come twice.


@dataclass(frozen=True, slots=True)
class CheckedDocument:
    """A valid document within bounds, and its fast path if it has one."""

    node: DocumentNode
    plain_create: PlainCreate | None


class Documents:
    """A runner of GraphQL calls against a schema.

    Without `introspection` it refuses `__schema`, `__type` and `_service`.
    """

    def __init__(self, schema: strawberry.federation.Schema, *, introspection: bool) -> None:
        self._schema = schema._schema  # graphql-core's schema: Strawberry gives it no public name.
        self._rules = [*specified_rules, *([] if introspection else [_NoIntrospection])]
        self._plain_creates = PlainCreates(self._schema)
        self._check_once = lru_cache(CACHED_DOCUMENTS)(self._check)

    async def run(self, call: Call, context: RequestContext) -> ExecutionResult:
        """Return the result of a call. Its errors are not worded for the client yet."""
        check = self._check_once if len(call.query) <= CACHED_CHARACTERS else self._check
        document = check(call.query)
        if isinstance(document, list):
            return ExecutionResult(None, document)
        if document.plain_create is not None:
            result = await document.plain_create.try_run(call, context)
            if result is not None:
                return result
        return await self._execute(document.node, call, context)

    async def _execute(
        self, document: DocumentNode, call: Call, context: RequestContext
    ) -> ExecutionResult:
        if not _has_operation(document, call.operation_name):
            safe = "`operationName` is not the name of the query's operation"
            message = f"Unknown operation named '{call.operation_name}'."
            return ExecutionResult(None, [_safe_error(message, safe)])
        result = execute(
            self._schema,
            document,
            context_value=context,
            variable_values=call.variables,
            operation_name=call.operation_name,
            execution_context_class=PlainRows,
        )
        return await result if isawaitable(result) else result

    def _check(self, query: str) -> CheckedDocument | list[GraphQLError]:
        """Parse and validate a document. Return the checked document, or its errors if any."""
        try:
            document = parse(query, max_tokens=MAX_TOKENS)
            # The bounds come first, because one rule of the specification takes time that grows
            # with the square of the number of fields.
            errors = _beyond_bounds(document) or validate(
                self._schema, document, self._rules, MAX_ERRORS
            )
        except GraphQLError as error:
            return [error]
        except RecursionError:
            return [_safe_error("nested too deep", f"at most {MAX_DEPTH} depth")]
        return errors or CheckedDocument(document, self._plain_creates.recognise(document))


def _has_operation(document: DocumentNode, name: str | None) -> bool:
    return name is None or any(
        isinstance(node, OperationDefinitionNode) and node.name and node.name.value == name
        for node in document.definitions
    )


def _safe_error(message: str, safe: str, node: FieldNode | None = None) -> GraphQLError:
    """Return an error whose text `safe` can be shown: it repeats nothing of the document."""
    return GraphQLError(message, node, extensions={"safe": safe})


def _beyond_bounds(document: DocumentNode) -> list[GraphQLError]:
    """Return an error for each bound that a document exceeds.

    A document may have one operation. Fragments are bounded, never expanded.
    """
    counts = _count(document)
    bounds = {
        "operations": 1,
        "aliases": MAX_ALIASES,
        "fields": MAX_FIELDS,
        "repeated fields": MAX_REPEATS,
        "fragments": MAX_SPREADS,
        "inline fragments": MAX_INLINE,
        "depth": MAX_DEPTH,
    }
    return [
        _safe_error(f"too many {name}", f"at most {most} {name}")
        for name, most in bounds.items()
        if counts[name] > most
    ]


def _count(document: DocumentNode) -> Counter[str]:
    """Return how much a document has of each bounded thing, by the name of the bound."""
    counts: Counter[str] = Counter()
    waiting: list[tuple[SelectionSetNode, int]] = []
    for definition in document.definitions:
        counts["operations"] += isinstance(definition, OperationDefinitionNode)
        selections = getattr(definition, "selection_set", None)
        if selections is not None:
            waiting.append((selections, 1))
    while waiting:
        selections, depth = waiting.pop()
        counts["depth"] = max(counts["depth"], depth)
        fields = [node for node in selections.selections if isinstance(node, FieldNode)]
        counts["fields"] += len(fields)
        counts["aliases"] += sum(node.alias is not None for node in fields)
        counts["repeated fields"] += len(fields) - len(
            {(node.alias or node.name).value for node in fields}
        )
        for node in selections.selections:
            counts["fragments"] += isinstance(node, FragmentSpreadNode)
            counts["inline fragments"] += isinstance(node, InlineFragmentNode)
            if isinstance(node, FieldNode | InlineFragmentNode) and node.selection_set is not None:
                waiting.append((node.selection_set, depth + 1))
    return counts


class _NoIntrospection(ValidationRule):
    """A rule that refuses introspection, so that production tells nobody its schema."""

    # Any: graphql-core's visitor passes four more arguments.
    def enter_field(self, node: FieldNode, *_: Any) -> None:
        if node.name.value in ("__schema", "__type", "_service"):
            self.report_error(
                _safe_error("introspection is off", "introspection is off in production", node)
            )
