"""The endpoint `POST /graphql`: a plain ASGI application that answers an HTTP request.

Starlette's requests and responses, with the wrappers around them, took a quarter of the time of an
event. The code that runs once per event therefore does without them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from starlette.types import Receive, Scope, Send

from signal_pipeline.api.answers import Response, refusal_response, result_response
from signal_pipeline.api.graphql.context import RequestContext, Services
from signal_pipeline.api.graphql.documents import Documents
from signal_pipeline.api.identity.callers import Caller, Identification
from signal_pipeline.api.identity.forwarded import client_address, forwarded_host
from signal_pipeline.api.refusals import ApiError
from signal_pipeline.api.requests import read_call
from signal_pipeline.settings import Network

logger = logging.getLogger(__name__)


class GraphqlEndpoint:
    """An ASGI application that answers GraphQL requests.

    With `peer_is_client` (development), the peer of the socket counts as the client of a request
    that no proxy forwarded.
    """

    def __init__(
        self,
        identification: Identification,
        trusted: Sequence[Network],
        documents: Documents,
        services: Services,
        *,
        peer_is_client: bool,
    ) -> None:
        self._identification = identification
        self._trusted = trusted
        self._documents = documents
        self._services = services
        self._peer_is_client = peer_is_client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. Even the text of a failure repeats no value of the request."""
        try:
            response = await self._response(scope, receive)
        except Exception as error:
            # Not raised: the server would log the error with the values in it.
            logger.error("a request failed: %s", type(error).__name__)
            response = refusal_response(ApiError("INTERNAL", "an internal error", 500))
        await response.send(send)

    async def _response(self, scope: Scope, receive: Receive) -> Response:
        # If a header comes twice, the first counts.
        first_values = dict(reversed(scope["headers"]))
        try:
            call = await read_call(first_values.get(b"content-type", b""), receive)
            caller = await self._identification.caller(
                first_values.get(b"authorization", b"").decode("latin-1"),
                call.query,
                call.variables,
                call.extensions,
            )
        except ApiError as error:
            return refusal_response(error)
        except RecursionError:
            return refusal_response(ApiError("BAD_REQUEST", "the body is nested too deep", 400))
        context = self._context(scope, caller, first_values.get(b"user-agent"))
        return result_response(await self._documents.run(call, context), context)

    def _context(self, scope: Scope, caller: Caller, user_agent: bytes | None) -> RequestContext:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        client = scope.get("client")
        peer = client[0] if client else None
        return RequestContext(
            services=self._services,
            caller=caller,
            address=client_address(
                _header_values(headers, b"x-forwarded-for"),
                self._trusted,
                peer if self._peer_is_client else None,
            ),
            host=forwarded_host(_header_values(headers, b"x-forwarded-host"), peer, self._trusted),
            user_agent=None if user_agent is None else user_agent.decode("latin-1"),
        )


def _header_values(headers: Sequence[tuple[bytes, bytes]], header: bytes) -> list[str]:
    """Return all values of a header, in order."""
    return [value.decode("latin-1") for name, value in headers if name == header]
