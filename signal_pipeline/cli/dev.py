"""Runs `signal-pipeline dev`: the Dagster UI and daemon on the configured database.

The UI is bound to loopback, because it has no login. The code location runs as a process of its own
beside `dagster dev`. It alone gets what ingest needs, above all the salts' secret.
"""

from __future__ import annotations

import atexit
import errno
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from dotenv import load_dotenv
from filelock import FileLock, Timeout

from signal_pipeline.cli import console
from signal_pipeline.cli.started_processes import Mark, new_mark, stop_started
from signal_pipeline.dagster.daemon_lock import DaemonLock
from signal_pipeline.dagster.home import database_url, prepare_dagster
from signal_pipeline.dagster.notifications import open_addresses
from signal_pipeline.days.calendar import stored_start_date
from signal_pipeline.errors import SignalError
from signal_pipeline.ingest.landing import prepare_landing
from signal_pipeline.postgres.database import Database, open_database
from signal_pipeline.rollups.models import load_models
from signal_pipeline.schema.migrate import migrate
from signal_pipeline.settings import Settings
from signal_pipeline.system.child_environments import (
    DATABASE_VARIABLE,
    code_location_environment,
    dagster_environment,
)
from signal_pipeline.system.ending_signals import ignore_ending_signals

LOOPBACK = "127.0.0.1"
WATCH_SECONDS = 2
LISTEN_SECONDS = 0.1
WORKSPACE = "load_from: [{grpc_server: {socket: %s, location_name: signal}}]\n"
# Without `-W`, `dagster dev` recommends a command of another package at each start.
DAGSTER = (sys.executable, "-W", "ignore:Function `dev_command`", "-m", "dagster")
CODE_LOCATION = (
    "-m",
    "signal_pipeline.definitions",
    "--location-name",
    "signal",
    "--log-level",
    "warning",
)


class DevError(SignalError):
    """`signal-pipeline dev` cannot start or go on: its port, home or Dagster database is taken."""


def run_dev(settings: Settings, port: int) -> int:
    """Migrate, start `dagster dev` and wait for it; return its exit code.

    When this process exits, it first stops the processes that it has started. So it is the last of
    them to leave the embedded server, which stops when its last user leaves.

    Raises DevError if the port is taken, or if another `signal-pipeline dev` runs on the same home
    or on the same Dagster database. While Dagster runs, this process checks that it still has the
    lock of that database.
    """
    # A wrong address is reported here, and not by a sensor some time later.
    open_addresses(settings)
    # Registered before `_stop`, and so called after it.
    atexit.register(_lock_home(settings.home_path).release)
    _refuse_taken_port(port)
    database = open_database(settings)
    migrate(database, settings, load_models())
    prepare_landing(settings.landing_path)
    _set_environment_of_children(settings, database)
    home = prepare_dagster(settings)
    daemon_lock = _lock_database(home)
    console.say(f"Dagster's state: {home}")
    console.say(f"The UI will be at http://{LOOPBACK}:{port} (stop with Ctrl-C)")
    mark = new_mark()
    # Registered before Dagster is started, so that a signal during the start leaves nothing behind.
    atexit.register(_stop, mark)
    try:
        # A short path, because a socket's path has at most 107 bytes.
        with tempfile.TemporaryDirectory(prefix="signal-") as folder:
            return _run_dagster(Path(folder), home, port, mark, settings, daemon_lock)
    # Ctrl-C, or another signal by way of the command's handler.
    except (KeyboardInterrupt, SystemExit):
        ignore_ending_signals()
        console.say("stopping Dagster ...")
        return 0


def _lock_home(home: Path) -> FileLock:
    """Return the lock of a home, taken until it is released or this process ends.

    It is taken before anything is started. Raises DevError if another process holds the lock.
    """
    home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(home / ".dev.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise DevError(
            f"another `signal-pipeline dev` runs on {home}: stop it, or choose another home with"
            " SIGNAL_HOME"
        ) from None
    return lock


def _lock_database(home: Path) -> DaemonLock | None:
    """Return the lock of Dagster's database, taken.

    Homes can share a database, so the lock of the home is not enough. This lock is lost when
    PostgreSQL ends; each call of `is_lost` takes it again if it is free.

    Returns None if a `dagster.yaml` that somebody else wrote keeps Dagster's state elsewhere.
    Raises DevError if another process holds the lock.
    """
    url = database_url(home)
    if url is None:
        return None
    lock = DaemonLock(url)
    if not lock.hold():
        raise _second_dev()
    return lock


def _second_dev() -> DevError:
    return DevError(
        "another `signal-pipeline dev` runs on the same database of Dagster's, and two daemons"
        f" would start each run twice: stop it, or choose another database with {DATABASE_VARIABLE}"
    )


def _refuse_taken_port(port: int) -> None:
    """Raise DevError if the UI could not listen on the port."""
    with socket.socket() as listener:
        # The UI sets this option too. Without it, the last connections of an earlier UI would hold
        # the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise DevError(f"port {port} is taken: choose another with --port") from None


def _set_environment_of_children(settings: Settings, database: Database) -> None:
    """Put every setting into this process's environment, from which children get what they need."""
    with database.connect() as connection:
        # One start date for every process: partitions must not depend on when a process was
        # started.
        os.environ["SIGNAL_START_DATE"] = str(stored_start_date(connection))
    for name in [
        name for name, value in os.environ.items() if name.startswith("SIGNAL") and not value
    ]:
        del os.environ[name]  # Empty means unset here, but `load_dotenv` would keep it as a value.
    load_dotenv(Path.cwd() / ".env")  # The same file that this process has read.
    os.environ |= _absolute_paths(settings)


def _run_dagster(
    folder: Path,
    home: Path,
    port: int,
    mark: Mark,
    settings: Settings,
    daemon_lock: DaemonLock | None,
) -> int:
    """Run the code location and the rest of Dagster until the rest ends; return an exit code.

    The code location comes first, since a web server that does not find it would show an error. It
    is started again if it is lost.
    """
    address, workspace = folder / "code", folder / "workspace.yaml"
    workspace.write_text(WORKSPACE % address, encoding="utf-8")
    location = [*DAGSTER, "code-server", "start", "-s", str(address), *CODE_LOCATION]
    code_location = _start(location, home, {**code_location_environment(), **mark})
    while not _listens(address):
        if (exit_code := code_location.poll()) is not None:
            console.complain(
                f"the code location ended with exit code {exit_code} before it was ready"
            )
            return 1
        time.sleep(LISTEN_SECONDS)
    dev = [*DAGSTER, "dev", "-w", str(workspace), "-h", LOOPBACK, "-p", str(port)]
    web_server_and_daemon = _start(dev, home, {**dagster_environment(), **mark})
    while True:
        with suppress(subprocess.TimeoutExpired):
            return web_server_and_daemon.wait(WATCH_SECONDS)
        if code_location.poll() is not None:
            console.say("the code location is gone: starting it again")
            code_location = _start(location, home, {**code_location_environment(), **mark})
        _keep_postgres(settings)
        if daemon_lock is not None and daemon_lock.is_lost():
            raise _second_dev()


def _start(
    command: list[str], home: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    # The child runs in Dagster's own folder. In the project's folder, Dagster would warn of the
    # dagster.yaml there, which it does not read. The child has a session of its own, so that Ctrl-C
    # on the terminal reaches only this process, which then stops Dagster in order.
    return subprocess.Popen(command, cwd=home, env=environment, start_new_session=True)  # noqa: S603 - fixed arguments


def _listens(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(address)) == 0


def _absolute_paths(settings: Settings) -> dict[str, str]:
    """Return absolute paths for the settings that are paths, for children in another folder."""
    paths = {"SIGNAL_HOME": settings.home_path, "SIGNAL_LANDING_DIR": settings.landing_path}
    optional = {"SIGNAL_CATALOGUE": settings.catalogue, "SIGNAL_SPOOL_DIR": settings.spool_dir}
    if settings.jwks and "://" not in settings.jwks:  # A file, not a URL.
        optional["SIGNAL_JWKS"] = Path(settings.jwks)
    return {
        name: str(path.absolute())
        for name, path in {**paths, **optional}.items()
        if path is not None
    }


def _keep_postgres(settings: Settings) -> None:
    """Start the embedded server again when it is gone: Dagster cannot work without it."""
    if settings.database_url is not None:
        return
    from signal_pipeline.postgres.embedded import running_url, start_embedded

    if running_url(settings.home_path) is None:
        console.say("PostgreSQL is gone: starting it again")
        try:
            start_embedded(settings.home_path)
        except SignalError as error:  # The next call tries again.
            console.complain(str(error))


def _stop(mark: Mark) -> None:
    """Stop the code location, `dagster dev`, and all that they have started.

    A run that is left behind, even one that is just starting, would keep the embedded server up.
    """
    if left := stop_started(mark):
        console.complain(f"these processes do not end: {', '.join(map(str, left))}")
