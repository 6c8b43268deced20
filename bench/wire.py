"""`eventCreate` over HTTP with its token and signature, committed.

It is compared with a bare ASGI handler on the same requests.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import psutil

from bench.measure import Cost, median
from bench.run import Bench
from bench.server import database_of, environment
from bench.table import Row, faster
from signal_pipeline.settings import Settings

CONNECTIONS = 64
WARM_UP = 200
# Requests per round. Fewer are over too soon for a clock of CPU time that ticks every 10 ms.
AT_LEAST = 2_000
# The bare handler is that much quicker, so each request is sent to it that many times.
BARE_TURNS = 10
EVENTS_PER_USER = 40  # This is below the rate limit per minute.
START_PATIENCE = 180.0


def measure(bench: Bench) -> list[Row]:
    """Measure both with one worker, the same bytes, and the same number of connections."""
    what = "`eventCreate`, token and signature checked, committed, one worker"
    if importlib.util.find_spec("signal_pipeline.api") is None:
        return [Row(what, "", "this version has no API")]
    count = max(AT_LEAST, bench.events // 250)
    with bench.server.database() as settings:
        serve = [str(Path(sys.executable).with_name("signal-pipeline")), "serve", "--port"]
        first = create_requests(
            settings, WARM_UP, bench.repeats
        )  # Not measured: they load what is loaded once.
        rounds = [create_requests(settings, count, turn) for turn in range(bench.repeats)]
        own = _measured(bench, serve, environment(settings), first, rounds)
        with database_of(settings).connect() as connection:
            stored = connection.execute("select count(*) from signal.events").fetchone()
        assert stored == (WARM_UP + count * bench.repeats,), f"stored {stored}"
        bare = [
            sys.executable,
            "-m",
            "uvicorn",
            "bench.peers.bare_asgi:app",
            "--app-dir",
            str(Path(__file__).parents[1]),
            "--no-access-log",
            "--log-level",
            "error",
            "--port",
        ]
        peer = _measured(
            bench, bare, dict(os.environ), first, [turn * BARE_TURNS for turn in rounds]
        )
    return [faster(what, own, "a bare ASGI handler on uvicorn", peer, at_least=0.1, text="event")]


def create_requests(settings: Settings, count: int, turn: object) -> list[bytes]:
    """Return whole HTTP requests, each with its own event; a user's requests share one token.

    Two calls with different turns have no user in common.
    """
    from signal_pipeline.api.identity.development import local_gateway_secret, sample_request
    from signal_pipeline.api.identity.signature import signature_of

    secret, made = local_gateway_secret(settings).encode(), list[bytes]()
    for at in range(0, count, EVENTS_PER_USER):
        sample = sample_request(
            settings,
            f"user-{turn}-{at}",
            admin=False,
            analyst=False,
            url="http://127.0.0.1/graphql",
        )
        for _ in range(min(EVENTS_PER_USER, count - at)):
            variables: dict[str, Any] = json.loads(json.dumps(sample.body["variables"]))
            variables["input"]["clientEventId"] = str(uuid.uuid4())
            extensions = {**cast("dict[str, object]", sample.body["extensions"])}
            extensions["hmac-signature"] = signature_of(
                secret, str(sample.body["query"]), variables
            )
            body = json.dumps(
                {**sample.body, "variables": variables, "extensions": extensions}
            ).encode()
            made.append(http_request(sample.headers, body))
    return made


def http_request(headers: Mapping[str, str], body: bytes) -> bytes:
    """Return a POST to the subgraph as it goes over the wire."""
    every = {**headers, "host": "127.0.0.1", "content-length": str(len(body))}
    lines = [f"{name}: {value}" for name, value in every.items()]
    return "\r\n".join(["POST /graphql HTTP/1.1", *lines, "", ""]).encode() + body


def _measured(
    bench: Bench,
    command: list[str],
    given: Mapping[str, str],
    first: Sequence[bytes],
    rounds: Sequence[Sequence[bytes]],
) -> Cost:
    """Return the median cost of one request.

    The CPU is the worker's and PostgreSQL's, not the client's.
    """
    port = free_port()
    with (bench.folder / "wire.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, str(port)], env=dict(given), cwd=bench.folder, stdout=log, stderr=log
        )
    try:
        wait_for(port, process)
        asyncio.run(ask_all(port, first))
        worker = psutil.Process(process.pid)
        costs = []
        for requests in rounds:
            before = sum(worker.cpu_times()[:2])
            cost = bench.server.watch.cost(lambda: asyncio.run(ask_all(port, requests)))  # noqa: B023
            used = sum(worker.cpu_times()[:2]) - before
            costs.append(
                Cost(cost.wall / len(requests), used / len(requests), cost.server / len(requests))
            )
        return median(costs)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def ask_all(port: int, requests: Sequence[bytes], connections: int = CONNECTIONS) -> None:
    """Send all requests over so many connections, and raise RuntimeError if one fails."""
    await asyncio.gather(*(_ask(port, requests[at::connections]) for at in range(connections)))


async def _ask(port: int, requests: Sequence[bytes]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for request in requests:
        await exchange(reader, writer, request)
    writer.close()


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> bytes:
    """Send a request and return the body of its answer. Raises RuntimeError if it failed."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    body = await reader.readexactly(length)
    if b" 200 " not in head[:20] or b'"errors"' in body:
        raise RuntimeError(f"a request failed: {head[:15]!r}")
    return body


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers. Raises RuntimeError if it ends, or takes too long."""
    give_up = time.monotonic() + START_PATIENCE
    while time.monotonic() < give_up and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError("the server does not answer: see its log")


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
