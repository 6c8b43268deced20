"""A real `signal-pipeline dev`, and backfills as its UI launches them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from support.commands import PROGRAM
from support.dagster import asker, wait_for_ui
from support.logs import logged
from support.waits import eventually

from faults.wire import free_port
from signal_pipeline.postgres.database import ensure_database
from signal_pipeline.postgres.urls import sqlalchemy_url, with_database

LAUNCH = """
mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
STATUS = """
query Status($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status numPartitions runs(limit: 50) { status tags { key value } } }
  }
}
"""
ENDED = ("COMPLETED_SUCCESS", "COMPLETED_FAILED", "COMPLETED", "FAILED")


@contextmanager
def running_dev(
    server: str, folder: Path, cwd: Path | None = None, **changes: str
) -> Iterator[Callable[..., Any]]:
    """A running `signal-pipeline dev`; gives a function that asks its GraphQL.

    Dagster's storage is a database on the server, and its home is in the folder. Keyword arguments
    change the environment.
    """
    name = f"dagster_dev_{os.getpid()}"
    ensure_database(server, name)
    port = free_port()
    env = {
        **os.environ,
        "SIGNAL_DAGSTER_DATABASE_URL": sqlalchemy_url(with_database(server, name)),
        "DAGSTER_HOME": str(folder / "d"),
        **changes,
    }
    command = [*PROGRAM, "dev", "--port", str(port)]
    with logged(folder / "dev.log") as log:
        process = subprocess.Popen(command, env=env, cwd=cwd or folder, stdout=log, stderr=log)
        try:
            ask = asker(port)
            wait_for_ui(ask, process)
            yield ask
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")  # type: ignore[arg-type]


def backfill(ask: Callable[..., Any], assets: list[str], days: list[str]) -> Any:
    """Launch a backfill as the UI does, wait for its end, and return its status."""
    params = {"assetSelection": [{"path": [name]} for name in assets], "partitionNames": days}
    launched = ask(LAUNCH, params=params)["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched

    def status() -> Any:
        return ask(STATUS, id=launched["backfillId"])["partitionBackfillOrError"]

    eventually(lambda: status()["status"] in ENDED, "it ends")
    return status()
