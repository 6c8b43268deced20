"""Turns a body into a GraphQL call: checks size, type, JSON and shape before GraphQL is parsed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.types import Receive

from signal_pipeline.api.identity.signature import MAX_VALUES, TooManyValuesError, parse_wire_json
from signal_pipeline.api.refusals import ApiError

MAX_BODY_BYTES = 256 * 1024  # A hundred events with the largest descriptions.
# Values belong in variables: GraphQL is parsed letter by letter, in Python.
MAX_QUERY_CHARACTERS = 64 * 1024
BODY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Call:
    """One GraphQL request. Numbers in `variables` and `extensions` keep how they were written."""

    query: str
    variables: dict[str, object] | None = None
    operation_name: str | None = None
    extensions: Mapping[str, object] = field(default_factory=dict)


async def read_call(content_type: bytes, receive: Receive) -> Call:
    """Read and check the body of an ASGI request.

    Raises ApiError, which repeats no value of the body.
    """
    if content_type.partition(b";")[0].strip().lower() != b"application/json":
        raise ApiError("UNSUPPORTED_MEDIA_TYPE", "the content type must be application/json", 415)
    body = await _body(receive)
    try:
        document = parse_wire_json(body)
    except TooManyValuesError:
        raise ApiError(
            "PAYLOAD_TOO_LARGE", f"the body has more than {MAX_VALUES:,} values", 413
        ) from None
    except RecursionError:
        raise ApiError("BAD_REQUEST", "the body is nested too deep", 400) from None
    except ValueError:
        raise ApiError("BAD_REQUEST", "the body is not JSON in UTF-8", 400) from None
    if not isinstance(document, dict):
        raise ApiError(
            "BAD_REQUEST", "the body must be one JSON object; batches are not supported", 400
        )
    return _call(document)


async def _body(receive: Receive) -> bytes:
    chunks, size, has_more = [], 0, True
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while has_more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ApiError("BAD_REQUEST", "the client disconnected", 400)
                chunk, has_more = message.get("body", b""), message.get("more_body", False)
                size += len(chunk)
                if size > MAX_BODY_BYTES:
                    raise ApiError(
                        "PAYLOAD_TOO_LARGE",
                        f"the body has more than {MAX_BODY_BYTES >> 10} KiB",
                        413,
                    )
                chunks.append(chunk)
    except TimeoutError:
        raise ApiError("REQUEST_TIMEOUT", "the body did not arrive in time", 408) from None
    return b"".join(chunks)


def _call(document: dict[str, object]) -> Call:
    query, variables = document.get("query"), document.get("variables")
    name, extensions = document.get("operationName"), document.get("extensions")
    if not isinstance(query, str) or not query.strip():
        raise ApiError("BAD_REQUEST", "`query` must be a text", 400)
    if len(query) > MAX_QUERY_CHARACTERS:
        message = (
            f"`query` has more than {MAX_QUERY_CHARACTERS:,} characters: send values as variables"
        )
        raise ApiError("PAYLOAD_TOO_LARGE", message, 413)
    if variables is not None and not isinstance(variables, dict):
        raise ApiError("BAD_REQUEST", "`variables` must be an object", 400)
    if name is not None and not isinstance(name, str):
        raise ApiError("BAD_REQUEST", "`operationName` must be a text", 400)
    if extensions is not None and not isinstance(extensions, dict):
        raise ApiError("BAD_REQUEST", "`extensions` must be an object", 400)
    return Call(query, variables, name, extensions or {})
