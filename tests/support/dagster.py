"""Small helpers of the tests that drive real runs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
from psycopg import sql
from support.days import RETENTION_DAYS
from support.logs import logged
from support.waits import PATIENCE_SECONDS, eventually

from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.privacy.retention import purge_due_days
from signal_pipeline.rollups.models import Models

Run = Callable[..., dg.ExecuteInProcessResult]
# The tables of Dagster's storage, and the owner of each of their rows.
STORAGE_TABLES = {
    "event_logs": "run_id",
    "asset_event_tags": "(select run_id from event_logs as e where e.id = t.event_id)",
    "asset_check_executions": "run_id",
    "asset_keys": "asset_key",
    "runs": "run_id",
    "run_tags": "run_id",
    "job_ticks": "selector_id",
    "instigators": "selector_id",
    "concurrency_slots": "run_id",
    "snapshots": "snapshot_id",
}


def purge(database: Database, models: Models, day: date) -> None:
    """Really purge a due day."""
    assert purge_due_days(database, models, RETENTION_DAYS).purged == [day]


def rows_of(connection: Connection, rollup: str, day: date) -> list[tuple[object, ...]]:
    """All rows of a rollup's day, in a stable order."""
    query = sql.SQL("select r::text from signal.{} as r where activity_date = %s order by 1")
    return connection.execute(query.format(sql.Identifier(rollup)), [day]).fetchall()


def refuse_day(connection: Connection, day: date, rollup: str = "daily_os_activity") -> None:
    """Let every build of one rollup of a day fail."""
    constraint = "add constraint broken check (activity_date <> {})"
    connection.execute(
        sql.SQL("alter table {} " + constraint).format(sql.Identifier("signal", rollup), str(day))
    )


def materialized(
    instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult
) -> dict[str, set[str | None]]:
    """The partitions that a run materialized, by asset."""
    found: dict[str, set[str | None]] = {}
    for entry in instance.all_logs(
        result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
    ):
        event = entry.dagster_event
        assert event
        assert event.asset_key
        found.setdefault(event.asset_key.to_user_string(), set()).add(event.partition)
    return found


def listens(port: int) -> bool:
    """True if somebody listens on a loopback port."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextmanager
def dagster_processes(folder: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """A function that starts a program of Dagster's in the folder.

    All of them are stopped at the end, with their children.
    """
    started: list[subprocess.Popen[bytes]] = []
    with logged(folder / "processes.log") as log:

        def start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
            program = [Path(sys.executable).parent / command[0], *command[1:]]
            options: dict[str, Any] = {
                "cwd": folder,
                "stdout": log,
                "stderr": log,
                "start_new_session": True,
            }
            started.append(subprocess.Popen(program, env=environment, **options))
            return started[-1]

        try:
            yield start
        finally:
            for process in started:
                process.terminate()
            for process in started:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(20)
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def storage_rows(storage: Database) -> set[tuple[object, ...]]:
    """Every row of Dagster's storage: its table, its owner, and its text."""
    with storage.connect() as connection:
        return {
            (table, *row)
            for table, owner in STORAGE_TABLES.items()
            for row in connection.execute(f"select {owner}, t::text from {table} as t")  # type: ignore[arg-type]
        }


def asker(port: int) -> Callable[..., Any]:
    """A function that asks the GraphQL of a Dagster UI."""

    def ask(query: str, **variables: object) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310
            return json.load(answer)["data"]

    return ask


def answers(ask: Callable[..., Any]) -> bool:
    """True if the UI is up."""
    try:
        return bool(ask("{ version }"))
    except OSError:
        return False


def wait_for_ui(ask: Callable[..., Any], process: subprocess.Popen[bytes]) -> None:
    """Return when the UI answers; fail at once if the process that should serve it ends."""
    eventually(lambda: process.poll() is not None or answers(ask), "the UI answers")
    assert process.poll() is None, f"it ended with {process.returncode}"


def ingest(lines: list[bytes]) -> None:
    """Ingest from another process, as an app or a person would."""
    command = [sys.executable, "-c", "from signal_pipeline.cli import main; main()", "ingest", "-"]
    subprocess.run(command, input=b"\n".join(lines), check=True, capture_output=True)


def built(connection: Connection, day: date) -> int | None:
    """How many raw events the slowest rollup of the day was built from.

    None if a rollup was never built.
    """
    row = connection.execute(
        "select count(*), min(raw_events) from signal.builds where day = %s", [day]
    ).fetchone()
    assert row
    return int(row[1]) if row[0] == 6 else None  # type: ignore[call-overload]


def row_counts(instance: dg.DagsterInstance, asset: str, day: date) -> list[object]:
    """The row counts of a day's materializations, newest first."""
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[str(day)]), limit=10
    ).records
    return [
        record.asset_materialization.metadata["dagster/partition_row_count"].value
        for record in records
        if record.asset_materialization
    ]


def metadata_of(instance: dg.DagsterInstance, asset: str, day: date) -> dict[str, object]:
    """The metadata of the only materialization of a day."""
    (record,) = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[str(day)]), limit=10
    ).records
    assert record.asset_materialization
    return {name: value.value for name, value in record.asset_materialization.metadata.items()}


def newest_mark(instance: dg.DagsterInstance, asset: str) -> tuple[str | None, set[str]]:
    """The day of an asset's last materialization, which its page shows, and its metadata's names."""
    (record,) = instance.fetch_materializations(dg.AssetKey(asset), limit=1).records
    assert record.asset_materialization
    return record.partition_key, set(record.asset_materialization.metadata)


def failure_text(result: dg.ExecuteInProcessResult) -> str:
    """What the failed steps of a run say."""
    return " ".join(
        str(event.step_failure_data.user_failure_data or "") + str(event.step_failure_data.error)
        for event in result.all_events
        if event.is_step_failure
    )


def status_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    """The status in a run's record."""
    record = instance.get_run_by_id(run.run_id)
    assert record
    return record.status


@dg.job
def empty_job() -> None:
    """A job that does nothing."""
