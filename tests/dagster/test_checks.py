"""Every check is shown red once, by a database that was broken on purpose.

Its message says what to do.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from conftest import Fill, settings_for
from support.bundle import SignalBundle
from support.days import due_day, today, yesterday
from support.traffic import line

from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.urls import with_database
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import Settings

IDENTITIES = ("raw_events", "identities_are_apart")
Checked = Callable[..., dict[tuple[str, str], dg.AssetCheckEvaluation]]


@pytest.fixture
def template(server: str, template: str, models: Models, tmp_path: Path) -> str:
    """A database with yesterday and today, built; all tests of one UTC day copy the same one."""
    name = f"signal_healthy_{today():%Y%m%d}"
    with psycopg.connect(server, autocommit=True) as connection:
        if connection.execute("select 1 from pg_database where datname = %s", [name]).fetchone():
            return name
        connection.execute(f"drop database if exists {name}_new")  # type: ignore[arg-type]
        connection.execute(f"create database {name}_new template {template}")  # type: ignore[arg-type]
        database = Database(with_database(server, f"{name}_new"))
        healthy = SignalBundle(database, settings_for(database.url, tmp_path), models)
        for day in (yesterday(), today()):
            healthy.fill(day, 200)
            healthy.build(day)
        # Only now, so that no test copies one that was built in part.
        connection.execute(f"alter database {name}_new rename to {name}")  # type: ignore[arg-type]
    return name


@pytest.fixture
def checked(environment: Settings, instance: dg.DagsterInstance, defs: dg.Definitions) -> Checked:
    """Evaluates checks without building anything: the given ones, or else all of them.

    Returns the evaluations by asset and name.
    """

    def evaluate(*checks: tuple[str, str]) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
        keys = {dg.AssetCheckKey(dg.AssetKey(asset), name) for asset, name in checks}
        job = defs.resolve_job_def("left_checks_job").get_subset(asset_check_selection=keys)
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        result = job.execute_in_process(instance=instance, run_config=quiet, raise_on_error=False)
        return {
            (e.asset_key.to_user_string(), e.check_name): e
            for e in result.get_asset_check_evaluations()
        }

    return evaluate


def reds(evaluations: dict[tuple[str, str], dg.AssetCheckEvaluation]) -> set[tuple[str, str]]:
    """The checks that did not pass."""
    return {key for key, evaluation in evaluations.items() if not evaluation.passed}


pytestmark = pytest.mark.embedded_only


def test_a_healthy_database_is_green(checked: Checked) -> None:
    evaluations = checked()
    assert reds(evaluations) == set()
    assert len(evaluations) > 80


BROKEN = {
    "a lost raw event": (
        "delete from signal.events where id = (select min(id::text) from signal.events)::uuid",
        ("raw_events", "books_reconcile"),
        "from a backup",
    ),
    "two secrets": (
        "insert into signal.day_keys select day, 'deadbeef' from signal.days",
        ("raw_events", "one_secret_per_day"),
        "over-counted",
    ),
    "two rules of names": (
        "insert into signal.day_keys (day, key_id) select day, key_id from signal.day_keys",
        ("raw_events", "one_secret_per_day"),
        "by two rules",
    ),
    "missing addresses": (
        "insert into signal.address_gaps select day, 'cms', 40, 0 from signal.days",
        ("raw_events", "addresses_arrive"),
        "SIGNAL_TRUSTED_PROXIES",
    ),
    "many drops": (
        (
            "insert into signal.intake select day, 'cms', 'dropped', 'invalid_field', 900 from"
            " signal.days"
        ),
        ("raw_events", "few_drops"),
        "the log of the ingest names the event types",
    ),
    "people taken for bots": (
        (
            "insert into signal.books select day - n, 'videos-admin', 'x', 'accepted', '', 1000"
            " from signal.days, generate_series(0, 20, 2) as n; insert into signal.books select"
            " day, 'videos-admin', 'x', 'dropped', 'bot', 30 from signal.days"
        ),
        ("raw_events", "bots_are_steady"),
        "docs/data-team.md",
    ),
    "one hash for all": (
        "update signal.events set user_hash = sha256('one')",
        ("raw_events", "identities_are_apart"),
        "proxy or NAT",
    ),
    "yesterday stale": (
        "update signal.days set version = version + 1, changed_at = now() - interval '2 hours'",
        ("daily_app_activity", "yesterday_is_built"),
        "signal-pipeline backfill",
    ),
    "a day that nobody built": (
        "update signal.days set version = version + 1, changed_at = now() - interval '2 hours'",
        ("daily_route_activity", "no_day_waits"),
        "failed runs of rollups_job",
    ),
    "a value outside its list": (
        (
            "update signal.daily_device_activity set device_type = 'fridge' where device_type ="
            " 'desktop'"
        ),
        ("daily_device_activity", "device_type_accepted_values"),
        "signal-pipeline backfill",
    ),
    "a name that was taken out of the catalogue": (
        (
            "update signal.daily_app_activity set event_type = event_type || '_gone'"
            " where event_type <> '(all)'"
        ),
        ("daily_app_activity", "event_type_accepted_values"),
        "a name is not in the catalogue: put its entry back, with `retired: true`",
    ),
    "a repeated row": (
        (
            "alter table signal.daily_app_activity drop constraint daily_app_activity_pkey;"
            " insert into signal.daily_app_activity select * from signal.daily_app_activity limit 1"
        ),
        ("daily_app_activity", "grain_is_unique"),
        "schema.yml disagree",
    ),
    "a number that is missing": (
        (
            "alter table signal.daily_app_activity alter users drop not null;"
            " update signal.daily_app_activity set users = null where event_type = '(all)'"
        ),
        ("daily_app_activity", "users_not_null"),
        "signal-pipeline backfill",
    ),
    "a row of a day that does not exist": (
        (
            "alter table signal.daily_os_activity disable trigger all; insert into"
            " signal.daily_os_activity select (jsonb_populate_record(r,"
            " jsonb_build_object('activity_date', r.activity_date - 5))).* from"
            " signal.daily_os_activity as r"
        ),
        ("daily_os_activity", "activity_date_relationships"),
        "signal-pipeline backfill",
    ),
    "rollups that disagree": (
        "update signal.daily_device_activity set events = events + 1 where event_type <> '(all)'",
        ("daily_device_activity", "reconciles_with_daily_app_activity"),
        "signal-pipeline backfill",
    ),
    "entities that do not add up": (
        "update signal.daily_entity_activity set events = events + 1 where event_type = '(all)'",
        ("daily_entity_activity", "reconciles_with_events"),
        "signal-pipeline backfill",
    ),
    "a number changed": (
        "update signal.daily_os_activity set events = events + 1 where event_type = '(all)'",
        ("daily_os_activity", "reconciles_with_events"),
        "signal-pipeline backfill",
    ),
}


@pytest.mark.parametrize(("statement", "check", "advice"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_database_turns_its_check_red(
    checked: Checked, connection: Connection, statement: str, check: tuple[str, str], advice: str
) -> None:
    connection.execute(statement)  # type: ignore[arg-type]
    evaluations = checked(check)
    assert reds(evaluations) == {check}
    assert advice in (evaluations[check].description or "")


def test_a_day_past_its_retention_warns_and_then_alarms(checked: Checked, fill: Fill) -> None:
    fill(due_day(1))
    expired, overdue = (
        ("expired_raw_events", name) for name in ("nothing_expired", "nothing_overdue")
    )
    assert reds(checked(expired, overdue)) == {expired}
    fill(due_day(8))
    alarm = checked(overdue)[overdue]
    assert not alarm.passed
    assert alarm.severity == dg.AssetCheckSeverity.ERROR
    assert f"--purge-incomplete {due_day(8)}" in (alarm.description or "")


def test_a_landed_file_that_waits_for_a_day_is_named(
    checked: Checked, environment: Settings
) -> None:
    environment.landing_path.mkdir()
    file = environment.landing_path / "old.ndjson"
    file.write_bytes(line())
    old = time.time() - 90_000
    os.utime(file, (old, old))
    moves = ("raw_events", "landing_moves")
    assert reds(checked(moves)) == {moves}


def test_a_real_collapse_of_identities_is_seen(checked: Checked, ingest: Ingest) -> None:
    at = datetime.now(UTC) - timedelta(minutes=1)
    lines = [
        line(at, sessionId=str(uuid.uuid4()), ip="203.0.113.1", clientEventId=str(uuid.uuid4()))
        for _ in range(300)
    ]
    assert ingest.ingest_lines(lines).accepted == 300
    check = checked(IDENTITIES)[IDENTITIES]
    assert not check.passed
    assert "203.0.113.1" not in json.dumps(str(check))


def test_an_address_that_changes_within_a_session_is_seen(checked: Checked, ingest: Ingest) -> None:
    at = datetime.now(UTC) - timedelta(minutes=1)
    session = str(uuid.uuid4())
    lines = [line(at, sessionId=session, ip=f"203.0.113.{n}") for n in range(200)]
    assert ingest.ingest_lines(lines).accepted == 200
    check = checked(IDENTITIES)[IDENTITIES]
    assert not check.passed
    assert "addresses change within it" in (check.description or "")


def test_a_real_change_of_the_secret_within_a_day_is_seen(
    checked: Checked, settings: Settings, database: Database
) -> None:
    other = settings.model_copy(
        update={"salt_secret": type(settings.salt_secret)("another secret of thirty-two bytes!")}
    )  # type: ignore[misc, call-arg]
    with closing(Ingest.from_settings(other, database)) as ingest:
        assert ingest.ingest_lines([line()]).accepted == 1
    one = ("raw_events", "one_secret_per_day")
    assert reds(checked(one)) == {one}
