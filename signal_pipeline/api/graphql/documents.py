"""GraphQL documents, which are parsed, validated and bounded once per text, then run.

Strawberry's own `execute` is not used: it makes its extensions anew for each request, which took a
third of the time of an event.
"""

from __future__ import annotations

from collections import Counter
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
from signal_pipeline.api.graphql.plain_create import PlainCreate, Plan
from signal_pipeline.api.graphql.writing import create_event
from signal_pipeline.api.requests import Call

MAX_TOKENS = 2_000
MAX_ALIASES = 40  # The gateway adds one per root field when it merges requests.
MAX_FIELDS = 200
MAX_SPREADS = 10
MAX_INLINE = 10
MAX_REPEATS = 20  # Fields requested again under the same name: each is compared with each.
MAX_ERRORS = 5  # For each error, GraphQL looks for similar names.
MAX_DEPTH = 16  # A usual introspection query has 14.
CACHED_DOCUMENTS = 256
CACHED_CHARACTERS = 8_192  # A longer text carries values, and does not come twice.

Checked = tuple[DocumentNode | None, list[GraphQLError], Plan | None]


class Documents:
    """A runner of GraphQL calls against a schema.

    Without `introspection` it refuses `__schema`, `__type` and `_service`.
    """

    def __init__(self, schema: strawberry.federation.Schema, *, introspection: bool) -> None:
        self._schema = schema._schema  # graphql-core's; Strawberry has no public name for it.
        self._rules = [*specified_rules, *([] if introspection else [_NoIntrospection])]
        self._plain = PlainCreate(self._schema, create_event)
        self._cached = lru_cache(CACHED_DOCUMENTS)(self._check)

    async def run(self, call: Call, context: RequestContext) -> ExecutionResult:
        """Return the result of a call. Its errors are not worded for the client yet."""
        check = self._cached if len(call.query) <= CACHED_CHARACTERS else self._check
        document, errors, plan = check(call.query)
        if document is None:
            return ExecutionResult(None, errors)
        given = self._plain.input_of(plan, call) if plan is not None else None
        if plan is not None and given is not None:
            return await self._plain.run(plan, given, context)
        result = execute(
            self._schema,
            document,
            context_value=context,
            variable_values=call.variables,
            operation_name=call.operation_name,
        )
        return await result if isawaitable(result) else result

    def _check(self, query: str) -> Checked:
        try:
            document = parse(query, max_tokens=MAX_TOKENS)
            # The bounds come first, because one rule of the specification takes time that grows
            # with the square of a document's fields.
            errors = _beyond_bounds(document) or validate(
                self._schema, document, self._rules, MAX_ERRORS
            )
        except GraphQLError as error:
            return None, [error], None
        except RecursionError:
            return (
                None,
                [
                    GraphQLError(
                        "nested too deep", extensions={"safe": f"at most {MAX_DEPTH} depth"}
                    )
                ],
                None,
            )
        return (None, errors, None) if errors else (document, [], self._plain.plan(document))


def _beyond_bounds(document: DocumentNode) -> list[GraphQLError]:
    """Return an error for each bound that a document exceeds.

    A document may have one operation. Fragments are bounded, never expanded.
    """
    counted = _count(document)
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
        GraphQLError(f"too many {name}", extensions={"safe": f"at most {most} {name}"})
        for name, most in bounds.items()
        if counted[name] > most
    ]


def _count(document: DocumentNode) -> Counter[str]:
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
                GraphQLError(
                    "introspection is off",
                    node,
                    extensions={"safe": "introspection is off in production"},
                )
            )
