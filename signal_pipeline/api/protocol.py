"""HTTP/1.1 with bounds, on top of uvicorn's protocol.

Uvicorn sets no bounds on headers, on the time of a request, on pipelining, or on answers that the
client never reads. Here, every client gets a limited time for whatever the server waits for; see
`connections`. Of a request that is refused here, the application gets at most a part.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from signal_pipeline.api.connections import Connections, Wait
from signal_pipeline.api.requests import MAX_BODY_BYTES

MAX_HEAD_BYTES = 64 * 1024
# The most bytes that the event loop hands over at once. In such a chunk, one request can end and
# another can begin.
CHUNK_BYTES = 256 * 1024
MAX_HEADERS = 100
# As received, with chunk framing and trailers.
MAX_REQUEST_BYTES = MAX_HEAD_BYTES + 4 * MAX_BODY_BYTES
MAX_PIPELINED = 100


class _Part(Enum):
    """The part of a request that has not been received in full."""

    HEAD = auto()
    BODY = auto()


@dataclass(frozen=True, slots=True)
class _Refusal:
    """The reason for closing a connection: what the client is told, and what the log counts."""

    status: int
    code: str
    message: str
    complaint: str

    def response(self) -> bytes:
        """Return the whole HTTP response."""
        error = {"message": self.message, "extensions": {"code": self.code}}
        body = json.dumps({"errors": [error]}).encode()
        lines = [
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            "connection: close",
            *(["retry-after: 1"] if self.status == HTTPStatus.SERVICE_UNAVAILABLE else []),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + body


_MALFORMED = _Refusal(400, "BAD_REQUEST", "the request is not valid HTTP/1.1", "sent no valid HTTP")
_HEAD_TOO_LARGE = _Refusal(
    431,
    "HEADERS_TOO_LARGE",
    f"there are more than {MAX_HEADERS} headers, or more than {MAX_HEAD_BYTES >> 10} KiB of them",
    "sent too large or too many headers",
)
_TOO_LARGE = _Refusal(
    413, "PAYLOAD_TOO_LARGE", "the request is too large", "sent a request that is too large"
)
_PIPELINED = _Refusal(
    400, "BAD_REQUEST", "too many pipelined requests", f"pipelined over {MAX_PIPELINED} requests"
)
_FULL = _Refusal(
    503, "SERVICE_UNAVAILABLE", "every connection is busy: send the same event again later", ""
)


class BoundedProtocol(HttpToolsProtocol):
    """A client's connection, with bounds on what it may send and on how long it may take.

    `connections` returns the `Connections` that all connections of a process share. The first call
    makes it.
    """

    def __init__(self, connections: Callable[[], Connections], **uvicorn_options: Any) -> None:
        super().__init__(**uvicorn_options)
        self.wait: Wait | None = None
        self._connections = connections()
        self._part: _Part | None = _Part.HEAD  # A client that has connected owes us a request.
        # An upper bound of the bytes of this request: the chunk in which it began counts whole.
        self._received_bytes = 0
        self._chunk_bytes = 0
        self._refusal_of_parser = _MALFORMED  # What an error of the parser means.
        self._running: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or answer that there is no room."""
        super().connection_made(transport)
        # `pause_writing` is then called at the first byte that waits, and `resume_writing` when no
        # byte is left. So an unread answer of any size is noticed when it is written. It must not
        # be noticed later: `_update_wait` does nothing once uvicorn has closed the connection.
        transport.set_write_buffer_limits(high=0)
        if not self._connections.admit(self, self.client[0] if self.client else None):
            transport.write(_FULL.response())
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop counting the connection, and tell the running request that its client is gone.

        Uvicorn itself tells this only to the request that came last.
        """
        self._connections.remove(self)
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def drop(self) -> None:
        """Close the connection, even if data waits to be sent."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Parse received data as uvicorn does, but count malformed requests.

        Uvicorn would log a warning for each.
        """
        self._chunk_bytes = len(data)
        self._received_bytes += self._chunk_bytes
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # The request is answered as if it had not asked for another protocol.
        except httptools.HttpParserError:
            self._refuse(self._refusal_of_parser)
            return
        if self._part is _Part.HEAD and self._received_bytes > MAX_HEAD_BYTES + CHUNK_BYTES:
            self._refuse(_HEAD_TOO_LARGE)
        elif self._part is _Part.BODY and self._received_bytes > MAX_REQUEST_BYTES:
            self._refuse(_TOO_LARGE)
        else:
            self._update_wait()

    def on_message_begin(self) -> None:
        """Note that a client has begun to send a request."""
        self._part = _Part.HEAD
        self._received_bytes = self._chunk_bytes
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Check the headers and the length of the pipeline.

        Raises ValueError if either is refused; the parser turns that into an error of its own.
        """
        if len(self.headers) > MAX_HEADERS or self._head_is_too_large():
            self._refusal_of_parser = _HEAD_TOO_LARGE
            raise ValueError(self._refusal_of_parser.code)
        if len(self.pipeline) >= MAX_PIPELINED:
            self._refusal_of_parser = _PIPELINED
            raise ValueError(self._refusal_of_parser.code)
        super().on_headers_complete()
        self._part = _Part.BODY
        self.headers = []  # The trailers of a chunked body are not headers.

    def on_message_complete(self) -> None:
        """Note that a whole request has been received."""
        self._part = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Finish a response as uvicorn does, with two differences.

        There is no timer for idle connections, and reading stays paused while requests wait.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        if not self.pipeline:  # Otherwise each answer would let in another chunk of requests.
            self.flow.resume_reading()
        self._update_wait()

    def pause_writing(self) -> None:
        """Note that a part of an answer waits until the client reads."""
        super().pause_writing()
        self._update_wait()

    def resume_writing(self) -> None:
        """Note that nothing waits to be sent any more."""
        super().resume_writing()
        self._update_wait()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _head_is_too_large(self) -> bool:
        if self._received_bytes <= MAX_HEAD_BYTES:
            return False
        return (
            len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            > MAX_HEAD_BYTES
        )

    def _update_wait(self) -> None:
        """Record whether the server now waits for the client, and for what.

        A connection that is closing keeps its deadline, until its last byte is sent.
        """
        wait = self._owed_wait()
        if wait is not self.wait and not self.transport.is_closing():
            self._connections.enter(self, wait)

    def _owed_wait(self) -> Wait | None:
        """Return the reason to wait for the client, or None if the server owes it an answer.

        A new connection owes a request (`head`). After an answer the client owes nothing until it
        begins the next request (`idle`).
        """
        waits = self._connections.waits
        if self.flow.write_paused:
            return waits.read
        if self.pipeline:  # Reading is paused until the last pipelined request is started.
            return None
        if self._part is _Part.BODY:
            return waits.body
        if self.cycle is not None and not self.cycle.response_complete:
            return None
        return waits.head if self._part is _Part.HEAD else waits.idle

    def _refuse(self, refusal: _Refusal) -> None:
        """Close the connection. First say why, if it is this request's turn to be answered.

        It is not this request's turn if the answer to another request is due first, or if this
        request's own answer began before the whole body arrived.
        """
        cycle = self.cycle
        if self._part is _Part.BODY:
            is_own_turn = not cycle.response_started
        else:
            is_own_turn = cycle is None or cycle.response_complete
        if is_own_turn and not self.pipeline:
            self.transport.write(refusal.response())
        self.transport.close()
        self._connections.count(refusal.complaint)
        self._connections.enter(self, self._connections.waits.close)
