"""The workers of `serve --workers 2`: who they are, and clients that keep them busy."""

from __future__ import annotations

import ssl
import threading
from contextlib import ExitStack, suppress
from typing import Any

import httpx
import psutil
from support.raw_http import HEALTH, connect, read_answer
from support.waits import PATIENCE_SECONDS, until
from support.wire import CREATE, Server, event, outcome

from signal_pipeline.postgres.database import Connection

TWO = ("--workers", "2")
# httpx would make one for each request, which takes longer than an event.
TLS = ssl.create_default_context()


def workers(server: Server) -> list[psutil.Process]:
    """The server's workers that are alive."""
    return workers_of(server.process.pid)


def workers_of(pid: int) -> list[psutil.Process]:
    """The workers that a process has started, and that are alive."""
    found = []
    for child in psutil.Process(pid).children():
        with suppress(psutil.Error):  # It has just ended.
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


def has_begun(worker: psutil.Process) -> bool:
    """Whether a new worker has loaded some of its modules; all of them take longer."""
    return sum(worker.cpu_times()[:2]) > 0.5


def connections_of(server: Server) -> dict[int, int]:
    """How many connections each worker has."""
    port = int(server.url.rpartition(":")[2])
    return {
        worker.pid: sum(
            each.status == psutil.CONN_ESTABLISHED and each.laddr.port == port
            for each in worker.net_connections()
        )
        for worker in workers(server)
    }


def post(server: Server, request: dict[str, Any]) -> Any:
    """The body of an answer over a new connection."""
    return httpx.post(
        f"{server.url}/graphql", timeout=PATIENCE_SECONDS, verify=TLS, **request
    ).json()


def apart(server: Server, query: str, variables: dict[str, object], **changes: str) -> object:
    """The body of an answer over a connection of its own, so that any worker gives it."""
    return post(server, server.request(query, variables, **changes))


def ids(rows: Connection) -> set[str]:
    """The stored events."""
    stored = rows.execute("select client_event_id from signal.events").fetchall()
    return {str(row[0]) for row in stored}


class Load:
    """Clients that send events one after the other until the end of the context."""

    def __init__(self, server: Server) -> None:
        self.acknowledged: list[object] = []
        self._server = server
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._click, args=(n,)) for n in range(8)]
        for thread in self._threads:
            thread.start()

    def wait(self, count: int) -> None:
        """Wait until so many events more are acknowledged."""
        enough = len(self.acknowledged) + count
        until(lambda: len(self.acknowledged) >= enough)

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _click(self, number: int) -> None:
        sent = 0
        while not self._stopped.is_set():
            fields = event()
            sent += 1
            request = self._server.request(
                CREATE, {"input": fields}, uid=f"loader-{id(self)}-{number}-{sent // 40}"
            )
            try:
                answer = post(self._server, request)
            except httpx.HTTPError:
                # The worker was killed, or the server has ended.
                self._stopped.wait(0.05)
                continue
            if outcome(answer)[0] in ("accepted", "spooled"):
                self.acknowledged.append(fields["clientEventId"])


def all_answer(server: Server) -> bool:
    """Whether two workers share forty connections, each of which gets an answer."""
    with ExitStack() as opened:
        for _ in range(40):
            client = opened.enter_context(connect(server))
            client.sendall(HEALTH)
            assert read_answer(client).startswith(b"HTTP/1.1 200")
        held = connections_of(server)
    return len(held) == 2 and all(held.values())
