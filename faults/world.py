"""One Signal to break: a home with its own embedded PostgreSQL, and processes to kill in it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil

from signal_pipeline.postgres.database import Connection, open_database
from signal_pipeline.postgres.embedded_folders import data_folder
from signal_pipeline.settings import Settings, load_settings

SECRET = "a-secret-for-faults-of-more-than-32-bytes"  # noqa: S105 # pragma: allowlist secret - of a database that is thrown away
PATIENCE_SECONDS = 600.0  # A machine can be very busy.


class FaultFoundError(Exception):
    """A promise was broken; the text says which, with the seed and round to see it again."""


class StuckError(Exception):
    """An action did not end, or failed although nothing disturbed it."""


def wait_for_midnight(seconds: float) -> date:
    """Wait for the next UTC date if it begins within that time; return the date that it is then.

    The API's events belong to the date of their arrival, which must therefore not change in a test.
    """
    now = datetime.now(UTC)
    left = (
        datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1) - now
    ).total_seconds()
    if left < seconds:
        time.sleep(left + 1)
    return datetime.now(UTC).date()


def kill_children() -> None:
    """Kill every process that a world of this process has started.

    A process waits for its children when it exits, and a server never ends by itself.
    """
    for process in multiprocessing.active_children():
        process.kill()
        process.join()


def stop_servers(folder: Path) -> None:
    """Stop every PostgreSQL with its data in the folder.

    A server is stopped by its last user, but not if that user was killed.
    """
    for file in folder.rglob("postmaster.pid"):
        with suppress(OSError, ValueError, psutil.Error):
            server = psutil.Process(int(file.read_text().split("\n", 1)[0]))
            if "postgres" in server.name():
                server.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown.
                server.wait(30)


def _in_environment(
    environment: dict[str, str], action: Callable[..., None], *arguments: object
) -> None:
    """Run an action in this world's environment.

    All worlds of a process share one server that forks, and it has the first world's environment.
    """
    _read_no_env_file()
    os.environ.clear()
    os.environ.update(environment)
    action(*arguments)


def _read_no_env_file() -> None:
    """Make this process leave the `.env` of the working folder alone: it is the developer's own."""
    Settings.model_config["env_file"] = None


class World:
    """A fresh `SIGNAL_HOME` in `folder`; this process gets its settings, and no others."""

    def __init__(self, folder: Path, days_before: int = 420) -> None:
        self.home = folder
        self.start_date = datetime.now(UTC).date() - timedelta(days=days_before)
        _read_no_env_file()
        for name in [each for each in os.environ if each.upper().startswith(("SIGNAL", "DAGSTER"))]:
            del os.environ[name]
        os.environ |= {
            "SIGNAL_HOME": str(folder),
            "SIGNAL_ENV": "development",
            "SIGNALS_SALT_SECRET": SECRET,
            "SIGNAL_START_DATE": str(self.start_date),
        }
        self._environment = dict(os.environ)
        # Victims are forked from a process that has imported everything, so they reach the
        # interesting places at once.
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(["faults.actions"])

    @classmethod
    @contextmanager
    def in_folder(cls, folder: Path) -> Iterator[World]:
        """Yield a world.

        Afterwards its processes are killed, and this process's own settings are restored.
        """
        before, env_file = dict(os.environ), Settings.model_config["env_file"]
        try:
            yield cls(folder)
        finally:
            kill_children()
            Settings.model_config["env_file"] = env_file
            os.environ.clear()
            os.environ.update(before)

    def set(self, name: str, value: str) -> None:
        """Set a variable for this process, and for actions that begin from now on."""
        os.environ[name] = self._environment[name] = value

    def start(self, action: Callable[..., None], *arguments: object) -> BaseProcess:
        """Begin an action in a process of its own."""
        process = self._processes.Process(
            target=_in_environment, args=(self._environment, action, *arguments)
        )
        process.start()
        return process

    def finish(self, action: Callable[..., None], *arguments: object) -> float:
        """Run an action to its end, undisturbed; return its seconds. Raises StuckError."""
        started = time.monotonic()
        process = self.start(action, *arguments)
        process.join(PATIENCE_SECONDS)
        if process.is_alive():
            process.kill()
            raise StuckError(f"{action.__name__} hangs")
        if process.exitcode:
            raise StuckError(
                f"{action.__name__} failed with exit code {process.exitcode}: {self._last_error()}"
            )
        return time.monotonic() - started

    def _last_error(self) -> str:
        """Return the last line of the victims' errors; an action can fail before it has any."""
        with suppress(FileNotFoundError, IndexError):
            return (self.home / "victims.log").read_text().splitlines()[-1]
        return "it left no message in victims.log"

    def land(self, name: str, content: bytes) -> None:
        """Move a finished file into the landing."""
        landing = self.home / "landing"
        landing.mkdir(exist_ok=True)
        draft = landing / f"{name}.tmp"
        draft.write_bytes(content)
        draft.rename(landing / f"{name}.ndjson")

    def connect(self) -> Connection:
        """Return a connection; start the database if necessary."""
        return open_database(load_settings()).connect()

    def postmaster(self) -> int | None:
        """Return the process id of the running PostgreSQL, or None."""
        file = data_folder(self.home.resolve()) / "postmaster.pid"
        with suppress(FileNotFoundError, ValueError, psutil.NoSuchProcess):
            pid = int(file.read_text().split("\n", 1)[0])
            if "postgres" in psutil.Process(pid).name():
                return pid
        return None

    def stop_postgres(self, how: signal.Signals) -> bool:
        """Stop PostgreSQL at once; return whether it was running.

        SIGQUIT is PostgreSQL's immediate shutdown. After SIGKILL its children end when they notice.
        """
        pid = self.postmaster()
        if pid is None:
            return False
        os.kill(pid, how)
        with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
            psutil.Process(pid).wait(30)
        return True
