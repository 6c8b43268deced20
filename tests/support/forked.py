"""Runs commands as forks of one process that has loaded what they load.

Loading takes most of the CPU of a short command, and the tests run hundreds of them. Each is still
a process with its own arguments, environment, folder and streams, and it ends like any other.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile

import psutil
from support.waits import PATIENCE_SECONDS

# A fork leaves the loop, so it ends as a program of these lines ends. Of Signal's own modules it
# has only those that every command loads: a command that forgets to load another fails. Of
# libraries it has more, so an import that a command lacks shows where it starts anew, as in
# tests/cli/test_extras.py.
PROGRAM = """
import json, os, socket, sys
import crawleruseragents, numpy, psycopg, sqlglot.dialects.postgres, sqlglot.lineage
import typer.rich_utils, ua_parser_rs, yaml_rs
from signal_pipeline.cli import commands, main

calls = socket.socket(fileno=int(sys.argv[1]))
while True:
    call, streams, _, _ = socket.recv_fds(calls, 1_000_000, 3)
    if not call:
        sys.exit()
    child = os.fork()
    if child == 0:
        break
    for stream in streams:
        os.close(stream)
    calls.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
calls.close()
for number, stream in enumerate(streams):
    os.dup2(stream, number)
    os.close(stream)
arguments, environment, folder = json.loads(call)
os.chdir(folder)
os.environ.clear()
os.environ.update(environment)
sys.argv = ["signal-pipeline", *arguments]
main()
"""
Answer = tuple[int, bytes, bytes]  # The exit code, stdout and stderr.
_free = threading.Lock()


def run_forked(
    arguments: list[str], environment: dict[str, str], folder: Path, stdin: bytes
) -> Answer | None:
    """Run a command to its end; None if it needs a start of its own.

    It does if Python would start otherwise in its environment, or while another command runs.
    """
    if not _free.acquire(blocking=False):
        return None
    try:
        server = _server()
        if _read_at_the_start(environment) != server.environment:
            return None
        return server.run(json.dumps([arguments, environment, str(folder)]).encode(), stdin)
    finally:
        _free.release()


def _read_at_the_start(environment: dict[str, str]) -> dict[str, str]:
    """The variables that can matter to what a fork has already loaded: all but these."""
    later = ("SIGNAL", "DAGSTER", "PG", "PYTEST", "COLUMNS", "COMP_", "PATH", "_SIGNAL", "_TYPER")
    return {name: value for name, value in environment.items() if not name.startswith(later)}


class _Server:
    """The process that forks. It ends with the connection to it."""

    def __init__(self) -> None:
        self._calls, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._calls.settimeout(PATIENCE_SECONDS)
        self.environment = _read_at_the_start(dict(os.environ))
        plain = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SIGNAL", "DAGSTER"))
        }
        quiet = subprocess.DEVNULL
        self._log = TemporaryFile()  # noqa: SIM115 - as long as the process
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(theirs.fileno())],
                env={**plain, "OPENBLAS_NUM_THREADS": "1"},  # A fork has one thread only.
                pass_fds=[theirs.fileno()],
                stdin=quiet,
                stdout=quiet,
                stderr=self._log,
            )
        atexit.register(self._end)

    def run(self, call: bytes, stdin: bytes) -> Answer:
        with TemporaryFile() as out, TemporaryFile() as err:
            try:
                reading, writing = os.pipe()
                with os.fdopen(reading):
                    socket.send_fds(self._calls, [call], [reading, out.fileno(), err.fileno()])
                with suppress(BrokenPipeError), os.fdopen(writing, "wb") as pipe:
                    pipe.write(stdin)
                answer = self._calls.recv(100)
                assert answer, self._last_words()
                code = int(answer)
            except BaseException:  # The test's time is up: the answer would come to another.
                self._end()
                raise
            out.seek(0)
            err.seek(0)
            return code, out.read(), err.read()

    def _last_words(self) -> str:
        self._log.seek(0)
        return f"the process that forks has ended: {self._log.read().decode()}"

    def _end(self) -> None:
        _server.cache_clear()
        self._calls.close()
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self._process.pid).children(recursive=True):
                child.kill()
        self._process.kill()
        self._process.wait()


_server = cache(_Server)
