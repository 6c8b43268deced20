"""A real HTTP server on loopback that takes what Apprise sends to `json://127.0.0.1:PORT`."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Inbox:
    """The messages that have arrived; if `closed`, every message is answered with an error."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.url = (
            f"json://127.0.0.1:{server.server_port}/secret-path-Kw27?+X-Token=secret-token-Kw28"
        )
        self.messages: list[dict[str, str]] = []
        self.asked = 0
        self.closed = False

    def titles(self) -> list[str]:
        """The titles of the messages that have arrived since the last call."""
        titles = [message["title"] for message in self.messages]
        self.messages.clear()
        return titles


@contextmanager
def open_inbox() -> Iterator[Inbox]:
    """A server that runs until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            box.asked += 1
            if not box.closed:
                box.messages.append(json.loads(body))
            self.send_response(503 if box.closed else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        box = Inbox(server)
        # The end of the block waits for the next of its polls, each of which takes so long.
        thread = threading.Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        try:
            yield box
        finally:
            server.shutdown()
            thread.join()
