"""The home that the leak test watches, and the processes that run in it."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from faults.leak_inputs import ALERTS, API_KEY, GATEWAY_SECRET, SECRET
from faults.wire import free_port, wait_until_up
from faults.world import PATIENCE_SECONDS, FaultFoundError, StuckError
from signal_pipeline.postgres.embedded import DATABASE, running_url, start_embedded, wheel_program
from signal_pipeline.postgres.embedded_folders import data_folder
from signal_pipeline.postgres.urls import with_database

COMMAND = [sys.executable, "-c", "from signal_pipeline.cli import main; main()"]


class LeakHome:
    """A `SIGNAL_HOME` of its own, with every temporary file and every output below it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        for name in ("tmpdir", "outputs", "landing"):
            (home / name).mkdir(parents=True)
        (home / "tmpdir").chmod(0o777)
        clean = {
            name: text
            for name, text in os.environ.items()
            if not name.startswith(("SIGNAL", "DAGSTER"))
        }
        self.environment = clean | {
            "SIGNAL_HOME": str(home),
            "SIGNAL_ENV": "development",
            "SIGNALS_SALT_SECRET": SECRET,
            "SIGNAL_HMAC_SECRET": GATEWAY_SECRET,
            "SIGNAL_API_KEYS": f"marked:{hashlib.sha256(API_KEY.encode()).hexdigest()}",
            "SIGNAL_SPOOL_DIR": str(home / "spool"),
            # Nobody listens at this address, so alerts fail: a failure tells more than a success.
            "SIGNAL_ALERT_URLS": f"json://{ALERTS}:{ALERTS}@127.0.0.1:1/{ALERTS}?+X-Token={ALERTS}",
            "TMPDIR": str(home / "tmpdir"),
        }

    def connect(self, database: str = DATABASE) -> psycopg.Connection[tuple[object, ...]]:
        """Connect to the home's server, and start it if necessary."""
        return psycopg.connect(self._url(database), autocommit=True)

    def stop_postgres(self) -> None:
        """Stop PostgreSQL at once."""
        os.kill(
            int((data_folder(self.home) / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT
        )
        until("PostgreSQL is gone", lambda: running_url(self.home) is None)

    @contextmanager
    def broken(self, table: str, condition: str) -> Iterator[None]:
        """Make new rows of a table fail unless they fulfil the condition.

        PostgreSQL would show the whole row in the detail of its error.
        """
        with self.connect() as connection:
            connection.execute(
                f"alter table signal.{table} add constraint broken check ({condition}) not valid"
            )  # type: ignore[arg-type]
            yield
            connection.execute(f"alter table signal.{table} drop constraint broken")  # type: ignore[arg-type]

    @contextmanager
    def process(self, *arguments: object, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a command until the context ends, with its output below the home."""
        with (self.home / "outputs" / str(arguments[0])).open("ab") as output:
            process = subprocess.Popen(
                [*COMMAND, *map(str, arguments)],
                env=self.environment | environment,
                cwd=self.home,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            yield process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()

    @contextmanager
    def serve(self) -> Iterator[int]:
        """Run a server that cannot start PostgreSQL again."""
        port = free_port()
        with self.process("serve", "--port", port, SIGNAL_DATABASE_URL=self._url(DATABASE)):
            demand(wait_until_up(port, PATIENCE_SECONDS), "the API starts")
            yield port

    def run(self, code: int, *arguments: object, lines: list[bytes] | None = None) -> Path:
        """Run a command that must end with this code; return the file with its output."""
        path = (
            self.home
            / "outputs"
            / f"{len(list((self.home / 'outputs').iterdir())):02}-{arguments[0]}"
        )
        with path.open("wb") as output:
            done = subprocess.run(
                [*COMMAND, *map(str, arguments)],
                env=self.environment,
                cwd=self.home,
                input=b"\n".join(lines or []),
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        demand(done.returncode == code, f"{path.name} ends with {code}, not {done.returncode}")
        return path

    def _url(self, database: str) -> str:
        url = running_url(self.home) or start_embedded(self.home)
        return with_database(url, database)

    def dump(self, database: str) -> bytes:
        """Return what pg_dump writes of a database."""
        program = wheel_program("pg_dump")
        demand(program is not None, "the wheel has pg_dump")
        return subprocess.run(
            [str(program), "--dbname", self._url(database)], capture_output=True, check=True
        ).stdout


def demand(condition: bool, what: str) -> None:
    """Raise FaultFoundError unless the condition is true."""
    if not condition:
        raise FaultFoundError(f"not so: {what}")


def until(what: str, condition: Callable[[], bool]) -> None:
    """Wait until the condition is true; an error counts as not yet."""
    give_up = time.monotonic() + 2 * PATIENCE_SECONDS
    while time.monotonic() < give_up:
        with suppress(OSError, psycopg.Error, ValueError):
            if condition():
                return
        time.sleep(0.2)
    raise StuckError(f"never: {what}")
