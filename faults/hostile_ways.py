"""The ways in for hostile payloads: files for the command, and HTTP requests to a real server."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections import Counter
from contextlib import closing
from http.client import HTTPException
from pathlib import Path

from faults import actions
from faults.file_forms import FilesOfEveryForm, other_forms
from faults.hostile import Payload, payloads
from faults.sly_rows import Stored, differences
from faults.wire import CREATE_MANY, Client, Gateway, free_port, wait_until_up
from faults.world import PATIENCE_SECONDS, SECRET, FaultFoundError, World
from signal_pipeline.api.identity.signature import TooManyValuesError
from signal_pipeline.settings import load_settings

FEW = 20  # The number of lines in a file of another form.
SENDERS = 4
WAITING = 200
HEADERS = {"ip": "x-forwarded-for", "userAgent": "user-agent"}


def by_file(world: World, number: int, seed: int) -> Counter[str]:
    """Write payloads to files of every form that Signal reads, and ingest them with the command.

    Then the command must refuse files of other forms. Returns the books of the payloads. Raises
    FaultFoundError.
    """
    before, sent = _books(world), 0
    expected: dict[str, Stored] = {}
    good: list[bytes] = []
    with closing(FilesOfEveryForm(world.home)) as dealt:

        def write(payload: Payload) -> None:
            nonlocal sent
            line = payload.line
            sent += not line.isspace()
            dealt.write(line)
            _expect(expected, payload)
            if payload.stored is not None and len(good) < FEW:
                good.append(json.dumps(payload.fields).encode())

        payloads(number, write, seed)
    done = _ingest(world, dealt.files)
    if done.returncode or b"Traceback" in done.stderr:
        raise FaultFoundError(f"seed {seed}: the ingest ended with {done.returncode}")
    books = _books(world) - before
    if books.total() != sent:
        raise FaultFoundError(f"seed {seed}: {sent} payloads, {books.total()} in the books")
    _compare(world, expected, seed)
    _refuse_other_forms(world, good, seed)
    return books


def _refuse_other_forms(world: World, lines: list[bytes], seed: int) -> None:
    before, files = _books(world), []
    for name, data in other_forms(lines).items():
        files.append(world.home / f"other-{name}")
        files[-1].write_bytes(data)
    done = _ingest(world, files)
    if done.returncode != 1 or b"Traceback" in done.stderr:
        raise FaultFoundError(
            f"seed {seed}: files of other forms: the ingest ended with {done.returncode}"
        )
    if missing := [
        file.name for file in files if f"{file}: looks like".encode() not in done.stderr
    ]:
        raise FaultFoundError(f"seed {seed}: files of other forms are not named: {missing}")
    if _books(world) != before:
        raise FaultFoundError(f"seed {seed}: files of other forms are in the books")


def _ingest(world: World, files: list[Path]) -> subprocess.CompletedProcess[bytes]:
    command = [
        sys.executable,
        "-c",
        "from signal_pipeline.cli import main; main()",
        "ingest",
        *map(str, files),
    ]
    return subprocess.run(command, cwd=world.home, capture_output=True, check=False)


def by_api(world: World, number: int, seed: int) -> Counter[str]:
    """Send payloads over HTTP to a real server; return the books, and the number of `refused` ones.

    Raises FaultFoundError.
    """
    before = _books(world)
    port = free_port()
    server = world.start(actions.serve, port, world.home / "spool", None)
    if not wait_until_up(port, PATIENCE_SECONDS):
        raise FaultFoundError(f"seed {seed}: the API does not start")
    api = _Senders(port)
    payloads(number, api.send, seed)
    api.finish()
    server.terminate()
    server.join(PATIENCE_SECONDS)
    if server.exitcode != 0:
        server.kill()
        api.wrong.append(f"the API ended with {server.exitcode}")
    books = _books(world) - before
    if books != api.answered:
        api.wrong.append(f"the answers say {dict(api.answered)}, the books {dict(books)}")
    if api.wrong:
        raise FaultFoundError(f"seed {seed}: {'; '.join(api.wrong[:5])}")
    _compare(world, api.expected, seed)
    return books + Counter(refused=api.refused)


class _Senders:
    """Threads that send payloads, and the answers that they got."""

    def __init__(self, port: int) -> None:
        self.answered: Counter[str] = Counter()
        self.refused = 0
        self.wrong: list[str] = []
        self.expected: dict[str, Stored] = {}
        self._queue: queue.Queue[Payload | None] = queue.Queue(WAITING)
        self._lock = threading.Lock()
        # Daemon threads do not keep the program alive when a fault is found meanwhile.
        self._threads = [
            threading.Thread(target=self._run, args=(port, n), daemon=True) for n in range(SENDERS)
        ]
        for thread in self._threads:
            thread.start()

    def send(self, payload: Payload) -> None:
        """Hand a payload to the next free thread."""
        self._queue.put(payload)

    def finish(self) -> None:
        """Wait until everything is answered."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _run(self, port: int, number: int) -> None:
        try:
            self._send_all(port, Gateway(load_settings(), f"hostile-{number}"))
        except Exception as error:
            self.wrong.append(f"a sender ended: {error!r}")
            while self._queue.get() is not None:  # Else `send` would wait for ever.
                pass

    def _send_all(self, port: int, gateway: Gateway) -> None:
        with closing(Client(port, gateway)) as client:
            while (payload := self._queue.get()) is not None:
                try:
                    self._ask(client, gateway, payload)
                except (OSError, HTTPException) as error:
                    self.wrong.append(f"no answer: {type(error).__name__}")

    def _ask(self, client: Client, gateway: Gateway, payload: Payload) -> None:
        stated = {
            name: value
            for name, value in payload.fields.items()
            if name not in ("createdAt", "host", *HEADERS)
        }
        text = payload.encode(json.dumps(stated).encode())
        try:
            body, headers = gateway.body(CREATE_MANY, b'{"input": [' + text + b"]}")
        except TooManyValuesError:  # A gateway does not sign what the API would refuse.
            with self._lock:
                self.refused += 1
                if payload.stored is not None:
                    self.wrong.append("a payload that must pass holds too many values")
            return
        answer = client.post(body, {**headers, "user-agent": "", **_headers(payload.fields)})
        with self._lock:
            if answer.status >= 500:
                self.wrong.append(f"a payload was answered with {answer.status}")
            if answer.refused:
                self.refused += 1
                if payload.stored is not None:
                    self.wrong.append(f"a payload that must pass was refused with {answer.status}")
            self.answered.update(
                f"{outcome} {reason or ''}".strip() for outcome, reason in answer.outcomes
            )
            _expect(self.expected, payload, by_api=True)


def _headers(fields: dict[str, object]) -> dict[str, bytes]:
    """Return address and user agent as headers; characters that no header can carry become `?`."""
    found = {}
    for name, header in HEADERS.items():
        if isinstance(text := fields.get(name), str):
            found[header] = "".join(
                each if each.isprintable() or each == "\t" else "?" for each in text
            ).encode(errors="replace")
    return found


def _expect(expected: dict[str, Stored], payload: Payload, *, by_api: bool = False) -> None:
    if payload.stored is not None:
        stored = payload.stored.as_on_the_wire() if by_api else payload.stored
        expected[str(payload.fields["clientEventId"]).lower()] = stored


def _compare(world: World, expected: dict[str, Stored], seed: int) -> None:
    with world.connect() as connection:
        wrong = differences(connection, SECRET, expected)
    if wrong:
        raise FaultFoundError(
            f"seed {seed}: {len(wrong)} rows are not what was sent: {'; '.join(wrong[:5])}"
        )


def _books(world: World) -> Counter[str]:
    with world.connect() as connection:
        rows = connection.execute(
            "select trim(outcome || ' ' || reason), sum(events)::bigint from signal.books group"
            " by 1"
        ).fetchall()
    return Counter({str(outcome): int(str(events)) for outcome, events in rows})
