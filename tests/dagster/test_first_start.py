"""Dagster's own database is made whole, or not at all, and with Signal's pools."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from support.commands import run_command
from support.dagster import empty_job

from signal_pipeline.dagster.home import DAGSTER_DATABASE, UNFINISHED_DATABASE, open_instance
from signal_pipeline.dagster.names import load_names
from signal_pipeline.postgres.database import Connection
from signal_pipeline.settings import Settings, load_settings

pytestmark = pytest.mark.embedded_only
# The process dies when Dagster has made the table by which it later knows that all tables are there.
PROGRAM = """\
import os, signal
from dagster._core.storage.runs.schema import RunsTable
from sqlalchemy import event
from signal_pipeline.dagster.home import open_instance
from signal_pipeline.settings import load_settings

event.listen(RunsTable, "after_create", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
with open_instance(load_settings()) as instance:
    instance.get_run_records(limit=1)
"""


@pytest.fixture
def no_database(server: str, environment: Settings) -> Iterator[Connection]:
    """A connection to the server, which has no database of Dagster's."""
    with psycopg.connect(server, autocommit=True) as connection:
        for name in (DAGSTER_DATABASE, UNFINISHED_DATABASE):
            connection.execute(f"drop database if exists {name} with (force)")  # type: ignore[arg-type]
        yield connection
        connection.execute(f"drop database if exists {DAGSTER_DATABASE} with (force)")  # type: ignore[arg-type]


def databases(connection: Connection) -> set[object]:
    found = connection.execute("select datname from pg_database where datname ~ 'dagster'")
    return {row[0] for row in found} & {DAGSTER_DATABASE, UNFINISHED_DATABASE}


def test_a_start_that_is_killed_half_way_is_made_good_by_the_next(
    no_database: Connection, tmp_path: Path
) -> None:
    killed = run_command(cwd=tmp_path, program=PROGRAM)
    assert killed.returncode == -signal.SIGKILL
    assert databases(no_database) == {UNFINISHED_DATABASE}
    with open_instance(load_settings()) as instance:
        done = empty_job.execute_in_process(instance=instance, tags={"team": "data"})
        assert instance.all_logs(done.run_id, of_type=dg.DagsterEventType.RUN_SUCCESS)
    assert databases(no_database) == {DAGSTER_DATABASE}


def test_pools_of_a_later_prefix_get_their_limit_and_others_keep_theirs(
    no_database: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_instance(load_settings()) as instance:
        instance.event_log_storage.set_concurrency_slots("rollups", 3)
        instance.event_log_storage.initialize_concurrency_limit_to_default("team__ingest")
    monkeypatch.setenv("SIGNAL_ASSET_KEY_PREFIX", "team")
    monkeypatch.delenv("SIGNAL_DAGSTER_DATABASE_URL")
    with open_instance(load_settings()) as instance:
        limits = {each.name: each for each in instance.event_log_storage.get_pool_limits()}
    assert {name: each.limit for name, each in limits.items()} == {
        "ingest": 1,
        "rollups": 3,
        "retention": 1,
        "team__ingest": 1,
        "team__rollups": 1,
        "team__retention": 1,
    }
    assert not limits["team__ingest"].from_default


def test_runs_go_on_when_the_default_limit_of_pools_is_changed(no_database: Connection) -> None:
    @dg.op(pool=min(load_names().pools))
    def work() -> None: ...

    @dg.job
    def in_a_pool() -> None:
        work()

    with open_instance(load_settings()) as instance:
        assert in_a_pool.execute_in_process(instance=instance).success
        config = Path(instance.root_directory) / "dagster.yaml"
    changed = config.read_text(encoding="utf-8").replace("default_limit: 1", "default_limit: 2")
    assert "default_limit: 2" in changed
    config.write_text(changed, encoding="utf-8")
    with open_instance(load_settings()) as instance:
        assert in_a_pool.execute_in_process(instance=instance).success
        limits = {each.name: each.limit for each in instance.event_log_storage.get_pool_limits()}
    assert limits == dict.fromkeys(load_names().pools, 1)
