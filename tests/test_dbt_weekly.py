"""The example project in a real dbt and a real dagster-dbt, as docs/dbt.md says.

`make check-dbt` runs this file in an environment that has both.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from conftest import Build, Fill
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from support.days import days_ago, today

from signal_pipeline.definitions import build_defs
from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.embedded import wheel_program
from signal_pipeline.settings import Settings

pytestmark = [
    pytest.mark.embedded_only,
    pytest.mark.skipif(
        importlib.util.find_spec("dagster_dbt") is None,
        reason="dbt is absent: the example project was not tried; `make check-dbt` does",
    ),
]

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "dbt.md").read_text(encoding="utf-8")
WEEKLY = dg.AssetKey("weekly_app_activity")
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def back(days: int) -> date:
    return days_ago(days)


@pytest.fixture
def project(
    environment: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: str
) -> Path:
    """A copy of the example, with its variables and programs in the environment."""
    folder = shutil.copytree(ROOT / "examples" / "dbt_weekly", tmp_path / "examples" / "dbt_weekly")
    parts = conninfo_to_dict(environment.database_url or "")
    monkeypatch.setenv("SIGNAL_DBT_HOST", str(parts["host"]))
    monkeypatch.setenv("SIGNAL_DBT_PORT", str(parts.get("port", 5432)))
    monkeypatch.setenv("SIGNAL_DBT_DATABASE", str(parts["dbname"]))
    monkeypatch.setenv("SIGNAL_DBT_PASSWORD", "of-a-test")
    programs = (Path(sys.executable).parent, Path(wheel_program("psql")).parent)
    monkeypatch.setenv("PATH", os.pathsep.join([*map(str, programs), os.environ["PATH"]]))
    return folder


@pytest.fixture
def run(project: Path) -> Run:
    """Runs a shell script in the project's folder."""

    def run_script(script: str, folder: Path = project) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-e"], input=script, cwd=folder, capture_output=True, text=True, check=False
        )

    return run_script


@pytest.fixture
def login(run: Run) -> None:
    """dbt's login."""
    done = run('psql -v ON_ERROR_STOP=1 -f login.sql "$SIGNAL_DATABASE_URL"')
    assert done.returncode == 0, done.stderr


def by_week(connection: Connection, days: set[date]) -> dict[tuple[date, str], tuple[int, ...]]:
    """The events, the most users of a day, ten times the mean users, and the days of each week.

    Counted here from the raw events.
    """
    people: dict[tuple[str, date], set[bytes]] = defaultdict(set)
    events: dict[tuple[str, date], int] = defaultdict(int)
    for app, created_at, user in connection.execute(
        "select app_name, created_at, user_hash from signal.events"
    ):
        day = created_at.astimezone(UTC).date()
        people[app, day].add(user)
        events[app, day] += 1
    found = {}
    for monday in {day - timedelta(days=day.weekday()) for day in days}:
        known = sorted(day for day in days if 0 <= (day - monday).days < 7)
        for app in {app for app, day in people if day in days}:
            users = [len(people[app, day]) for day in known]
            found[monday, app] = (
                sum(events[app, day] for day in known),
                max(users),
                round(10 * sum(users) / len(users)),
                len(known),
            )
    return found


def test_everything_that_the_guide_types_works(
    project: Path, run: Run, connection: Connection, fill: Fill, build: Build
) -> None:
    whole_week = back(today().weekday() + 7)
    unknown = whole_week - timedelta(days=3)
    begin = whole_week - timedelta(days=7)
    days = {begin + timedelta(days=n) for n in range((today() - begin).days)} - {unknown}
    for day in days:
        fill(day, 40, day.day)
        build(day)
    fill(unknown, 40)  # Never built: unknown, not zero.
    connection.execute("update signal.days set changed_at = now()")

    blocks = re.findall(r"```sh\n(.*?)```", GUIDE, flags=re.DOTALL)
    done = run("\n".join(blocks), project.parents[1])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "[WARNING]" not in done.stdout + done.stderr

    target = project / "target"
    states = {
        result["unique_id"]: result["status"]
        for result in json.loads((target / "sources.json").read_text())["results"]
    }
    assert set(states.values()) == {"pass"} and len(states) == 12

    rows = connection.execute(
        "select week_start, app_name, events, users_on_busiest_day,"
        " round(users_on_mean_day * 10)::int, days_built, is_complete"
        " from signal_dbt.weekly_app_activity"
    ).fetchall()
    assert {(row[0], row[1]): row[2:6] for row in rows} == by_week(connection, days)
    assert {row[0] for row in rows if row[6]} == {whole_week}

    catalog = json.loads((target / "catalog.json").read_text())
    manifest = json.loads((target / "manifest.json").read_text())
    for key, source in manifest["sources"].items():
        described = catalog["sources"][key]
        assert described["metadata"]["comment"] == source["description"]
        assert set(source["columns"]) <= set(described["columns"])


def test_dbt_cannot_read_what_is_not_in_the_views(
    environment: Settings, login: None, connection: Connection
) -> None:
    own = psycopg.connect(environment.database_url or "", user="signal_dbt", autocommit=True)
    with own, pytest.raises(errors.InsufficientPrivilege):
        own.execute("select * from signal.events")


def test_what_is_late_is_seen(
    project: Path, run: Run, login: None, connection: Connection, fill: Fill, build: Build
) -> None:
    for day in (back(3), back(2), back(1)):
        fill(day, 10)
        build(day)
    connection.execute("update signal.days set changed_at = now() - interval '5 hours'")
    older = (
        "update signal.builds set version = version - 1, built_at = now() - make_interval(hours =>"
        " %s) where day = %s and rollup = %s"
    )
    connection.execute(older, [2, back(2), "daily_device_activity"])
    connection.execute(older, [4, back(2), "daily_route_activity"])
    missing = "delete from signal.builds where rollup = %s and day <= %s"
    connection.execute(missing, ["daily_entity_activity", back(3)])
    connection.execute(missing, ["daily_os_activity", today()])

    done = run("dbt source freshness --exclude source:signal.*_by_type")
    assert done.returncode == 1, done.stdout
    results = json.loads((project / "target" / "sources.json").read_text())["results"]
    assert {result["unique_id"].split(".")[-1]: result["status"] for result in results} == {
        "daily_app_activity": "pass",
        "daily_browser_activity": "pass",
        "daily_device_activity": "warn",
        "daily_route_activity": "error",
        "daily_entity_activity": "error",
        "daily_os_activity": "error",
    }


def test_dagster_draws_one_lineage_and_runs_behind_signal(
    project: Path,
    run: Run,
    login: None,
    environment: Settings,
    connection: Connection,
    fill: Fill,
    build: Build,
) -> None:
    assert run("dbt --quiet parse").returncode == 0
    spec = importlib.util.spec_from_file_location("dbt_weekly", project / "definitions.py")
    assert spec and spec.loader
    example: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)

    signal = build_defs(environment)
    graph = dg.Definitions.merge(signal, example.defs).resolve_asset_graph()
    rollup, raw = dg.AssetKey("daily_app_activity"), dg.AssetKey("raw_events")
    assert graph.get(WEEKLY).parent_keys == {rollup, raw}
    assert all(graph.get(key).is_materializable for key in (rollup, raw))
    assert graph.get_all_asset_keys() == {
        WEEKLY,
        *signal.resolve_asset_graph().get_all_asset_keys(),
    }

    for day in (back(2), back(1)):
        fill(day, 10)
    connection.execute("update signal.days set changed_at = now() - interval '4 hours'")
    assert not run_in_dagster(example).success
    for day in (back(2), back(1)):
        build(day)
    result = run_in_dagster(example)
    assert result.success
    checks = {check.check_name for check in result.get_asset_check_evaluations() if check.passed}
    assert {"unique_weekly_app_activity", "weekly_events_add_up"} <= checks
    assert not result.get_asset_observation_events()


def run_in_dagster(example: Any) -> dg.ExecuteInProcessResult:
    """Run the example's assets once."""
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize(
            [example.weekly_models],
            resources=example.defs.resources,
            instance=instance,
            raise_on_error=False,
        )
