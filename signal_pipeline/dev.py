"""`signal-pipeline dev`: the Dagster UI and daemon on the configured database, bound to loopback (the UI has no login)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from signal_pipeline import console
from signal_pipeline.dagster_home import prepare_dagster
from signal_pipeline.rollups.models import load_models
from signal_pipeline.settings import Settings
from signal_pipeline.store.database import open_database, safe_errors
from signal_pipeline.store.days import stored_start_date
from signal_pipeline.store.migrate import migrate

STOP_PATIENCE_SECONDS = 30


def run_dev(settings: Settings, port: int) -> int:
    """Migrate, start `dagster dev`, wait for it, stop it with its children; returns its exit code."""
    database = open_database(settings)
    migrate(database, settings, load_models())
    with safe_errors(), database.connect() as connection:
        # One start date for every process: partitions must not depend on when a process was started.
        os.environ["SIGNAL_START_DATE"] = str(stored_start_date(connection))
    home = prepare_dagster(settings)
    console.say(f"Dagster's state: {home}")
    console.say(f"The UI will be at http://127.0.0.1:{port} (stop with Ctrl-C)")
    command = [sys.executable, "-m", "dagster", "dev"]
    command += ["-m", "signal_pipeline.definitions", "-h", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command)  # noqa: S603 - our own interpreter and fixed arguments

    signal.signal(signal.SIGTERM, lambda *_: process.send_signal(signal.SIGINT))
    try:
        return process.wait()
    except KeyboardInterrupt:
        return _stopped(process)


def _stopped(process: subprocess.Popen[bytes]) -> int:
    try:
        process.wait(STOP_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return 0
