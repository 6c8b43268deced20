"""Crashes and races with real processes.

Builders, a purge and writers work on one day, and a range is killed in the middle.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from conftest import Fill
from psycopg import sql
from support.dagster import Run, purge, rows_of
from support.days import days_ago, due_day, yesterday
from support.waits import PATIENCE_SECONDS

from signal_pipeline.dagster.assets.rollup_run import BUILDERS
from signal_pipeline.dagster.home import open_instance
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.urls import sqlalchemy_url
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import Settings, load_settings

pytestmark = pytest.mark.embedded_only

# Builds or purges a day in a loop, and prints the result of each round.
ACTOR = """
import sys
from datetime import date
from signal_pipeline.errors import SignalError
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.engine import open_engine
from signal_pipeline.rollups.models import load_models
from signal_pipeline.settings import load_settings
from signal_pipeline.postgres.database import open_database
from signal_pipeline.privacy.retention import purge_due_days

role, day, rounds = sys.argv[1], date.fromisoformat(sys.argv[2]), int(sys.argv[3])
settings, models = load_settings(), load_models()
database = open_database(settings)
engine = open_engine(settings, database)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(rounds):
    try:
        if role == "build":
            print("built", build_day(database, engine, models, day).version)
        else:
            print(purge_due_days(database, models, 180).as_dict())
    except SignalError as error:
        print(type(error).__name__, error)
"""


def race(*actors: tuple[str, date, int]) -> list[list[str]]:
    """Start the actors, let them go at once, and return the lines of each."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = [
        subprocess.Popen([sys.executable, "-c", ACTOR, role, str(day), str(rounds)], **pipes)  # type: ignore[call-overload]
        for role, day, rounds in actors
    ]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    ended = [process.communicate(timeout=PATIENCE_SECONDS)[0].splitlines() for process in started]
    assert [process.returncode for process in started] == [0] * len(started)
    return ended


def test_two_builders_and_a_purge_of_one_day_leave_what_the_receipt_says(
    environment: Settings, connection: Connection, models: Models, fill: Fill, run: Run
) -> None:
    day = due_day()
    fill(day, 200)
    assert run("rollups_job", day).success
    wanted = {name: rows_of(connection, name, day) for name in models}
    one, two, purged = race(("build", day, 12), ("build", day, 12), ("purge", day, 3))
    assert any(str(day) in line for line in purged)
    for builder in (one, two):
        refused = [n for n, line in enumerate(builder) if not line.startswith("built")]
        assert all("purged, unchanged" in builder[n] for n in refused)
        assert refused == list(
            range(len(builder) - len(refused), len(builder))
        )  # A purged day stays purged.
    assert {name: rows_of(connection, name, day) for name in models} == wanted
    receipts = connection.execute("select day, raw_events, version from signal.receipts").fetchall()
    assert receipts == [(day, 200, 1)]
    assert connection.execute("select count(*) from signal.events").fetchone() == (0,)


def test_two_builders_and_a_writer_end_with_the_newest_version(
    environment: Settings, connection: Connection, models: Models, fill: Fill
) -> None:
    fill(yesterday(), 50)
    pair = race(("build", yesterday(), 6), ("build", yesterday(), 6))
    fill(yesterday(), 10, seed=2)
    last = race(("build", yesterday(), 3), ("build", yesterday(), 3))
    assert {line for lines in pair for line in lines} == {"built 1"}
    assert {line for lines in last for line in lines} == {"built 2"}
    builds = connection.execute("select distinct version, raw_events from signal.builds").fetchall()
    assert builds == [(2, 60)]
    total = connection.execute(
        "select sum(events)::bigint from signal.daily_app_activity where event_type = '(all)'"
    ).fetchone()
    assert total == (60,)


@pytest.fixture
def survivor(
    environment: Settings, storage: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A Dagster storage on PostgreSQL, which outlives a killed process."""
    monkeypatch.setenv("SIGNAL_DAGSTER_DATABASE_URL", sqlalchemy_url(storage.url))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))


@pytest.mark.usefixtures("survivor")
def test_a_range_that_is_killed_keeps_its_days_and_goes_on(
    environment: Settings, connection: Connection, models: Models, fill: Fill
) -> None:
    days = [days_ago(n) for n in range(30, 0, -1)]
    for day in days:
        fill(day, 10)
    command = [sys.executable, "-c", "from signal_pipeline.cli import main; main()", "backfill"]
    command += ["--from", str(days[0]), "--to", str(days[-1])]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def built() -> list[date]:
        query = "select day from signal.builds group by day having count(*) = %s order by day"
        return [row[0] for row in connection.execute(query, [len(models)])]  # type: ignore[misc]

    while len(built()) < 5:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = built()
    assert 5 <= len(kept) < 30
    # Each builder can be at a day, and a later one of these days can be done first.
    assert set(kept) <= set(days[: len(kept) + BUILDERS - 1])
    torn = connection.execute(
        "select day from signal.builds group by day having count(*) <> %s", [len(models)]
    )
    assert torn.fetchall() == []
    with open_instance(load_settings()) as instance:
        shown = instance.get_materialized_partitions(dg.AssetKey("daily_os_activity"))
        assert {str(day) for day in kept[: -BUILDERS - 1]} <= shown <= {str(day) for day in kept}
    stamps = connection.execute(
        "select day, built_at from signal.builds where day = any(%s)", [kept]
    ).fetchall()
    assert (
        subprocess.run(
            [*command, "--only-stale"], stderr=subprocess.DEVNULL, check=False
        ).returncode
        == 0
    )
    assert built() == days
    with open_instance(load_settings()) as instance:
        assert [run.status.value for run in instance.get_runs()] == ["SUCCESS", "FAILURE"]
        for asset in ("raw_events", *models):
            assert instance.get_materialized_partitions(dg.AssetKey(asset)) == {
                str(day) for day in days
            }
    again = connection.execute(
        "select day, built_at from signal.builds where day = any(%s)", [kept]
    ).fetchall()
    assert sorted(again) == sorted(stamps)


@pytest.fixture
def app_role(connection: Connection) -> Iterator[str]:
    """A role that can read and write every table, as an application's would, and owns none."""
    name = f"app_{os.getpid()}"
    connection.execute(sql.SQL("create role {} login").format(sql.Identifier(name)))
    connection.execute(sql.SQL("grant usage on schema signal to {}").format(sql.Identifier(name)))
    connection.execute(
        sql.SQL("grant all on all tables in schema signal to {}").format(sql.Identifier(name))
    )
    yield name
    connection.execute(sql.SQL("drop owned by {}").format(sql.Identifier(name)))
    connection.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


ATTACKS = [
    "delete from signal.daily_app_activity where activity_date = {day}",
    "delete from signal.daily_app_activity",
    "update signal.daily_app_activity set events = 0 where activity_date = {day}",
    (
        "update signal.daily_app_activity set activity_date = {day}, event_type = 'x' || event_type"
        " where activity_date = {open_day}"
    ),
    (
        "update signal.daily_app_activity set activity_date = {open_day}, event_type = 'x' ||"
        " event_type where activity_date = {day}"
    ),
    "insert into signal.daily_app_activity values ({day}, 'cms', 'made_up', 1, 1, 1)",
    (
        "insert into signal.daily_app_activity select * from signal.daily_app_activity where"
        " activity_date = {day} on conflict (activity_date, app_name, event_type) do update set"
        " events = 0"
    ),
    (
        "merge into signal.daily_app_activity as t using (select {day}::date as day) as s on"
        " t.activity_date = s.day when matched then update set users = 0"
    ),
    (
        "with gone as (delete from signal.daily_app_activity where activity_date = {day} returning"
        " *) select count(*) from gone"
    ),
    "truncate signal.daily_app_activity",
    "truncate signal.daily_app_activity, signal.daily_os_activity cascade",
    "delete from signal.receipts",
    "update signal.receipts set raw_events = 0",
    "truncate signal.receipts",
    "alter table signal.daily_app_activity disable trigger all",
    "set session_replication_role = replica",
    "drop table signal.daily_app_activity",
]


def test_plain_sql_cannot_change_a_purged_day(
    app_role: str, database: Database, connection: Connection, models: Models, fill: Fill, run: Run
) -> None:
    day = due_day()
    for each in (day, yesterday()):
        fill(each)
        assert run("rollups_job", each).success
    purge(database, models, day)

    def stored() -> list[object]:
        receipts = connection.execute("select r::text from signal.receipts as r").fetchall()
        return [
            *(rows_of(connection, name, each) for name in models for each in (day, yesterday())),
            receipts,
        ]

    before = stored()
    with database.connect() as attacker:
        attacker.execute(sql.SQL("set role {}").format(sql.Identifier(app_role)))
        for attack in ATTACKS:
            statement = sql.SQL(attack).format(day=str(day), open_day=str(yesterday()))  # type: ignore[arg-type]
            with pytest.raises(
                (psycopg.errors.RaiseException, psycopg.errors.InsufficientPrivilege)
            ):
                attacker.execute(statement)
            assert stored() == before, attack
