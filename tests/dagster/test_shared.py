"""Signal in the Dagster of a team, beside `deploy/your_team.py`.

The instance is configured for nobody. There is one web server, one daemon and one PostgreSQL; the
`dagster.yaml` names a storage and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
import yaml
from conftest import START_DATE
from support.dagster import asker, dagster_processes, ingest, wait_for_ui
from support.days import days_ago, yesterday
from support.traffic import traffic
from support.waits import eventually

from faults.wire import free_port
from signal_pipeline.postgres.database import Connection, Database, ensure_database
from signal_pipeline.postgres.urls import sqlalchemy_url, with_database
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

EXAMPLE = Path(__file__).parents[2] / "deploy" / "your_team.py"
LATE_DAY = days_ago(4)
LINEAGE = """
query Lineage($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode {
      repository { location { name } }
      dependencyKeys { path }
      dependedByKeys { path }
    }
  }
}
"""


@dataclass(frozen=True)
class Shared:
    """The team's instance, and a function that asks its UI."""

    instance: dg.DagsterInstance
    ask: Callable[..., Any]

    def days(self, asset: str) -> set[str]:
        """The materialized partitions of an asset."""
        return self.instance.get_materialized_partitions(dg.AssetKey(asset))

    def events(self, asset: str, day: date | None = None) -> object:
        """What the last materialization of the asset counted.

        If a day is given, it is the last one of that day.
        """
        keys = dg.AssetRecordsFilter(
            dg.AssetKey(asset), asset_partitions=[str(day)] if day else None
        )
        found = self.instance.fetch_materializations(keys, limit=1).records
        materialization = found[0].asset_materialization if found else None
        return materialization.metadata["events"].value if materialization else None

    def ticks(self) -> list[float]:
        """When the team's automation finished a look, as Unix times."""
        states = [
            state
            for state in self.instance.all_instigator_state()
            if state.instigator_name == "follow_signal"
        ]
        return [
            tick.end_timestamp
            for state in states
            for tick in self.instance.get_ticks(state.instigator_origin_id, state.selector_id)
            if tick.end_timestamp
        ]

    def is_at_rest(self) -> bool:
        """No run is in flight, and the automation has looked twice since the last one ended.

        Dagster takes a run of a follower for the answer to an update that came while the run was in
        flight, and forgets the update.
        """
        records = self.instance.get_run_records()
        if any(record.end_time is None for record in records):
            return False
        last = max((record.end_time or 0.0 for record in records), default=0.0)
        return len([tick for tick in self.ticks() if tick > last]) >= 2


@pytest.fixture
def shared(
    environment: Settings, database: Database, server: str, tmp_path: Path
) -> Iterator[Shared]:
    """The team's Dagster with both code locations, as docs/deploy.md has its workspace."""
    name = f"team_dagster_{os.getpid()}"
    ensure_database(server, name)
    home, port = tmp_path / "dagster", free_port()
    home.mkdir()
    storage = {"postgres": {"postgres_url": sqlalchemy_url(with_database(server, name))}}
    (home / "dagster.yaml").write_text(
        yaml.safe_dump({"storage": storage, "telemetry": {"enabled": False}})
    )
    locations = [
        {
            "python_module": {
                "module_name": "signal_pipeline.definitions",
                "location_name": "signal",
            }
        },
        {"python_file": {"relative_path": str(EXAMPLE), "location_name": "your_team"}},
    ]
    (home / "workspace.yaml").write_text(yaml.safe_dump({"load_from": locations}))
    every = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "DAGSTER_GRPC_TIMEOUT_SECONDS": "240",  # This is no measurement either.
        "TEAM_SIGNAL_URL": database.url.replace("postgres@", "signal_reader@"),
        "TEAM_START_DATE": START_DATE.isoformat(),
    }
    ask = asker(port)
    with dagster_processes(home) as start, dg.DagsterInstance.from_config(str(home)) as instance:
        web = ["dagster-webserver", "-h", "127.0.0.1", "-p", str(port), "-w", "workspace.yaml"]
        wait_for_ui(ask, start(web, every))
        start(["dagster-daemon", "run", "-w", "workspace.yaml"], every)
        yield Shared(instance, ask)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")  # type: ignore[arg-type]


def test_a_teams_assets_follow_signals(shared: Shared, connection: Connection) -> None:
    connection.execute("alter role signal_reader login")
    newest = yesterday()
    ingest([*traffic(newest, 40), *traffic(LATE_DAY, 9, seed=2)])
    both = {str(newest), str(LATE_DAY)}
    eventually(lambda: shared.days("daily_app_activity") >= both, "Signal has built both days")
    eventually(lambda: shared.days("every_day") >= both, "each day that was built is followed")
    eventually(lambda: shared.events("newest_day", newest) == 40, "the newest day is followed")
    eventually(lambda: shared.events("all_days") == 49, "so is an asset without partitions")
    assert shared.events("every_day", newest) == 40
    assert shared.events("every_day", LATE_DAY) == 9
    assert str(LATE_DAY) not in shared.days("newest_day")

    eventually(shared.is_at_rest, "the team's automation has nothing more to do")
    ingest(traffic(LATE_DAY, 5, seed=3))
    eventually(lambda: shared.events("every_day", LATE_DAY) == 14, "late events come through")
    eventually(lambda: shared.events("all_days") == 54, "in the sum too")

    (signals,) = [shared.ask(LINEAGE, key={"path": ["daily_app_activity"]})["assetNodeOrError"]]
    theirs = shared.ask(LINEAGE, key={"path": ["every_day"]})["assetNodeOrError"]
    assert signals["repository"]["location"]["name"] == "signal"
    assert theirs["repository"]["location"]["name"] == "your_team"
    assert {"path": ["daily_app_activity"]} in theirs["dependencyKeys"]
    assert {path for each in signals["dependedByKeys"] for path in each["path"]} >= {
        "newest_day",
        "every_day",
        "all_days",
    }
