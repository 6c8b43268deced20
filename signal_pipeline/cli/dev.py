"""`signal-pipeline dev`: the Dagster UI and daemon on the configured database, bound to loopback (the UI has no login)."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from dotenv import load_dotenv

from signal_pipeline.cli import console
from signal_pipeline.cli.started_processes import Mark, new_mark, stop_started
from signal_pipeline.dagster.home import prepare_dagster, project_file
from signal_pipeline.dagster.notifications import open_addresses
from signal_pipeline.days.calendar import stored_start_date
from signal_pipeline.ending_signals import ignore_ending_signals
from signal_pipeline.errors import SignalError
from signal_pipeline.ingest.landing import prepare_landing
from signal_pipeline.postgres.database import open_database, safe_errors
from signal_pipeline.postgres.embedded import running_url, start_embedded
from signal_pipeline.rollups.models import load_models
from signal_pipeline.schema.migrate import migrate
from signal_pipeline.settings import Settings

WATCH_SECONDS = 2


def run_dev(settings: Settings, port: int) -> int:
    """Migrate, start `dagster dev` and wait for it; returns its exit code.

    What it has started is stopped when this process exits, before this process leaves the embedded server: as the last
    user it stops that too.
    """
    open_addresses(settings)  # One that is wrong is said here, and not by a sensor some time later.
    database = open_database(settings)
    migrate(database, settings, load_models())
    prepare_landing(settings.landing_path)
    with safe_errors(), database.connect() as connection:
        # One start date for every process: partitions must not depend on when a process was started.
        os.environ["SIGNAL_START_DATE"] = str(stored_start_date(connection))
    load_dotenv(Path.cwd() / ".env")  # Where this process has read it.
    os.environ |= _absolute_paths(settings)
    home = prepare_dagster(settings)
    console.say(f"Dagster's state: {home}")
    console.say(f"The UI will be at http://127.0.0.1:{port} (stop with Ctrl-C)")
    # `dagster dev` is what dagster itself ships; it recommends a command of another package at each start.
    command = [sys.executable, "-W", "ignore:Function `dev_command`", "-m", "dagster", "dev"]
    command += ["-w", str(project_file("workspace.yaml")), "-h", "127.0.0.1", "-p", str(port)]
    mark = new_mark()
    atexit.register(_stop, mark)  # Before the start: a signal in the middle of it must leave nothing behind.
    try:
        # In Dagster's own folder: it would warn of the project's dagster.yaml, which it does not read.
        # In a session of its own: Ctrl-C on the terminal is for this process alone, which stops Dagster in order.
        process = subprocess.Popen(command, cwd=home, env={**os.environ, **mark}, start_new_session=True)  # noqa: S603 - fixed arguments
        return _wait(process, settings)
    except (KeyboardInterrupt, SystemExit):  # Ctrl-C, or another signal by way of the command's handler.
        ignore_ending_signals()
        console.say("stopping Dagster ...")
        return 0


def _absolute_paths(settings: Settings) -> dict[str, str]:
    """The settings that are paths, for children that work in another folder."""
    paths = {"SIGNAL_HOME": settings.home_path, "SIGNAL_LANDING_DIR": settings.landing_path}
    given = {"SIGNAL_CATALOGUE": settings.catalogue, "SIGNAL_SPOOL_DIR": settings.spool_dir}
    if settings.jwks and "://" not in settings.jwks:  # A file, not a URL.
        given["SIGNAL_JWKS"] = Path(settings.jwks)
    return {name: str(path.absolute()) for name, path in {**paths, **given}.items() if path is not None}


def _wait(process: subprocess.Popen[bytes], settings: Settings) -> int:
    """Wait for Dagster, and start the embedded server again when it is gone: Dagster itself stands still without it."""
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(WATCH_SECONDS)
        if settings.database_url is None and running_url(settings.home_path) is None:
            console.say("PostgreSQL is gone: starting it again")
            try:
                start_embedded(settings.home_path)
            except SignalError as error:  # The next look tries again.
                console.complain(str(error))


def _stop(mark: Mark) -> None:
    """Stop `dagster dev` and all that it has started: runs, also one that is just starting, hold the embedded server."""
    if left := stop_started(mark):
        console.complain(f"these processes do not end: {', '.join(map(str, left))}")
