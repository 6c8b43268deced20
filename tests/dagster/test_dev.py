"""A real `signal-pipeline dev` with its daemon.

Events come from other processes, and a backfill through its GraphQL.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Fill
from support.commands import run_command
from support.dagster import built, ingest, purge, rows_of
from support.days import days_ago, due_day, today, yesterday
from support.dev import backfill, running_dev
from support.traffic import traffic
from support.waits import eventually

from faults.wire import free_port
from signal_pipeline.catalogue.load import PACKAGED_CATALOGUE
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.urls import sqlalchemy_url
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.engine import open_engine
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

MATERIALIZED = """
query Rows($key: AssetKeyInput!, $partitions: [String!]) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode {
      assetMaterializations(partitions: $partitions, limit: 1) {
        partition
        metadataEntries { label ... on IntMetadataEntry { intValue } }
      }
    }
  }
}
"""


@pytest.fixture
def dev(environment: Settings, server: str, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """A running `signal-pipeline dev`; gives a function that asks its GraphQL."""
    with running_dev(server, tmp_path) as ask:
        yield ask


# `signal-pipeline dev`, with a child in Dagster's place that prints what it would read.
STAND_IN = """
import subprocess, sys
from signal_pipeline.cli.commands import main
CHILD = '''
from signal_pipeline.settings import load_settings
read = load_settings()
print(read.retention_days, read.salt_secret.get_secret_value())
for path in (read.home_path, read.landing_path, read.catalogue, read.spool_dir, read.jwks):
    print(path)
'''
start = subprocess.Popen
subprocess.Popen = lambda command, **options: start([sys.executable, "-c", CHILD], **options)
main()
"""


def test_children_read_what_the_command_has_read(
    environment: Settings, admin_url: str, tmp_path: Path
) -> None:
    secret = "only-in-the-env-file-of-more-than-32-bytes"
    (tmp_path / ".env").write_text(
        f"SIGNALS_SALT_SECRET={secret}\nSIGNAL_RETENTION_DAYS=33\nSIGNAL_JWKS=keys.json\n"
    )
    changes = {
        "SIGNAL_HOME": "home",
        "SIGNAL_LANDING_DIR": "in",
        "SIGNAL_CATALOGUE": "c.yaml",
        "SIGNAL_SPOOL_DIR": "out",
    }
    shutil.copyfile(PACKAGED_CATALOGUE, tmp_path / "c.yaml")
    done = run_command(
        "dev",
        "--port",
        free_port(),
        cwd=tmp_path,
        program=STAND_IN,
        **changes,
        SIGNALS_SALT_SECRET=None,
        SIGNAL_DATABASE_URL=admin_url,
        SIGNAL_DAGSTER_DATABASE_URL=sqlalchemy_url(admin_url),
    )
    # The stand-in is no server: the code location ends before it is ready.
    assert done.returncode == 1, done.stderr
    assert "the code location ended with exit code 0 before it was ready" in done.stderr
    names = ("home", "in", "c.yaml", "out", "keys.json")
    assert done.stdout.splitlines()[-6:] == [
        f"33 {secret}",
        *(str(tmp_path / name) for name in names),
    ]


def test_events_reach_the_rollups_and_a_backfill_respects_purged_days(
    dev: Callable[..., Any],
    environment: Settings,
    database: Database,
    connection: Connection,
    models: Models,
    fill: Fill,
) -> None:
    # Events of another process, then a late one on an old day.
    old = days_ago(41)
    ingest(traffic(yesterday(), 40))
    eventually(lambda: built(connection, yesterday()) == 40, "yesterday is built")
    ingest(traffic(old, 3))
    eventually(lambda: built(connection, old) == 3, "the old day is built")
    ingest(traffic(old, 2, seed=9))
    eventually(lambda: built(connection, old) == 5, "the late events are in")

    # A landed file.
    draft = environment.landing_path / "replay.tmp"
    draft.write_bytes(b"\n".join(traffic(yesterday(), 7, seed=3)))
    draft.rename(draft.with_suffix(".ndjson"))
    eventually(lambda: built(connection, yesterday()) == 47, "the landed file is in the rollups")
    assert not list(environment.landing_path.glob("*.ndjson"))

    # A backfill as the UI launches it, over a purged day and a good one.
    purged, good = due_day(2), due_day(1)
    for day in (purged, good):
        fill(day)
        build_day(database, open_engine(environment, database), models, day)
        if day == purged:
            purge(database, models, purged)
    before = {name: rows_of(connection, name, purged) for name in models}
    connection.execute("update signal.builds set built_at = '2020-01-01' where day = %s", [good])
    ended = backfill(dev, list(models), [str(purged), str(good)])
    assert [run["status"] for run in ended["runs"]] == ["SUCCESS"]
    assert {name: rows_of(connection, name, purged) for name in models} == before
    rebuilt = connection.execute(
        "select min(built_at) from signal.builds where day = %s", [good]
    ).fetchone()
    assert rebuilt and rebuilt[0].date() == today()  # type: ignore[attr-defined]
    shown = dev(MATERIALIZED, key={"path": ["daily_route_activity"]}, partitions=[str(good)])
    (event,) = shown["assetNodeOrError"]["assetMaterializations"]
    counts = {entry["label"]: entry.get("intValue") for entry in event["metadataEntries"]}
    assert counts["dagster/partition_row_count"] == len(
        rows_of(connection, "daily_route_activity", good)
    )
    assert connection.execute("select count(*) from signal.receipts").fetchone() == (1,)
