"""Turns a GraphQL result into an HTTP response.

The texts of errors are ours, because a library's message can repeat what somebody sent.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields

import msgspec
from graphql import ExecutionResult, GraphQLError, GraphQLSyntaxError
from starlette.types import Send
from strawberry.utils.str_converters import to_camel_case

from signal_pipeline.api.graphql.context import RequestContext
from signal_pipeline.api.graphql.types import EventCreateInput, EventFilter, StatsFilter
from signal_pipeline.api.refusals import ApiError, log_as_unavailable
from signal_pipeline.postgres.database import DatabaseError

logger = logging.getLogger(__name__)

QUERY_CANCELED = "57014"  # The SQLSTATE of a statement that ran into its timeout.
_HEADERS = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))
_RETRY_AFTER = (b"retry-after", b"2")  # Seconds.
# How graphql-core's message names the place of a value that does not fit its type: the name of the
# variable, then indexes and names of fields.
_PLACE = re.compile(r" at '\$?(\w+)((?:\.\w+|\[\d{1,4}\])*)'; ", re.ASCII)
_INPUTS = (EventCreateInput, EventFilter, StatsFilter)
_FIELDS = {to_camel_case(field.name) for kind in _INPUTS for field in fields(kind)}
# The names of variables that an answer may repeat, since they are arguments of the schema. Any
# other name is the client's own text.
_VARIABLES = ("input", "filter")
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response: its status and its JSON body."""

    status: int
    body: bytes

    async def send(self, send: Send) -> None:
        """Send the response through an ASGI server."""
        headers = [*_HEADERS, (b"content-length", b"%d" % len(self.body))]
        if self.status == 503:
            headers.append(_RETRY_AFTER)
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def refusal_response(error: ApiError) -> Response:
    """Return the response to a request that is refused as a whole."""
    return Response(error.status, _encode({"errors": [_error(error)]}))


def result_response(result: ExecutionResult, context: RequestContext) -> Response:
    """Return the response to a GraphQL request: its result or errors, and its events' outcomes."""
    body: dict[str, object] = {"data": result.data}
    status = 200
    if result.errors:
        executed = result.data is not None or any(error.path for error in result.errors)
        refusals = [_refusal(error) for error in result.errors]
        body["errors"] = [
            {**_error(refusal), **_position(error)}
            for refusal, error in zip(refusals, result.errors, strict=True)
        ]
        status = _status(refusals) if executed else 400
        if not executed:
            del body["data"]
    if context.answers:
        body["extensions"] = {"signal": context.outcomes()}
    return Response(status, _encode(body))


def _status(refusals: Sequence[ApiError]) -> int:
    """Return the highest status of 500 or above, or 200 if there is none.

    The refusal of a single field is part of a normal answer.
    """
    return max((refusal.status for refusal in refusals if refusal.status >= 500), default=200)


def _refusal(error: GraphQLError) -> ApiError:
    """Return what the client is told. An unexpected error is logged, without its values."""
    original = error.original_error
    if isinstance(original, ApiError):
        return original
    if isinstance(original, DatabaseError):
        if original.sqlstate == QUERY_CANCELED:
            return ApiError("TIMEOUT", "the query takes too long: ask for fewer days, or filter")
        if (unavailable := log_as_unavailable(original)) is not None:
            return unavailable
        logger.error("%s", original)
        return ApiError("INTERNAL", "an internal error", 500)
    if isinstance(error, GraphQLSyntaxError):
        return ApiError("GRAPHQL_PARSE_FAILED", "the query is not valid GraphQL, or is too long")
    if error.path is None or original is None:
        return ApiError("GRAPHQL_VALIDATION_FAILED", _validation_text(error))
    logger.error("a request failed: %s", type(original).__name__)
    return ApiError("INTERNAL", "an internal error", 500)


def _validation_text(error: GraphQLError) -> str:
    safe = (error.extensions or {}).get("safe")
    if safe:
        return f"the request is refused: {safe}"
    place = _place(error.message)
    return f"the request does not fit the schema{f' at {place}' if place else ''}"


def _place(message: str) -> str:
    """Return the last place that a message names, or "" if the schema does not have it.

    The text of a value can look like a place. So the last place is returned only if every field
    name in it is one of the schema's.
    """
    *_, (variable, path) = [("", ""), *_PLACE.findall(message)]
    if not set(re.findall(r"[^\W\d]\w*", path)) <= _FIELDS:
        return ""
    return str(variable + path) if variable in _VARIABLES else str(path.lstrip("."))


def _error(refusal: ApiError) -> dict[str, object]:
    return {"message": str(refusal), "extensions": {"code": refusal.code}}


def _position(error: GraphQLError) -> dict[str, object]:
    """Return where in the document and in the result an error happened, as far as is known."""
    position: dict[str, object] = {}
    if error.locations:
        position["locations"] = [
            {"line": place.line, "column": place.column} for place in error.locations
        ]
    if error.path:
        position["path"] = error.path
    return position
