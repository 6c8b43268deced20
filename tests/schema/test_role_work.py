"""What each role does for its part of Signal, and what the reader's URL gives."""

from __future__ import annotations

import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from conftest import As, Fill
from psycopg import errors
from support.commands import last_json, run_command
from support.days import RETENTION_DAYS, due_day, today, yesterday
from support.reports import frame
from support.traffic import traffic

from signal_pipeline.cli.psql import ReaderError, reader_url
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.privacy import retention
from signal_pipeline.privacy.erasure import Subject, erase
from signal_pipeline.reports.of_rollups import rollup_report
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.duckdb_engine import DuckdbEngine
from signal_pipeline.rollups.models import Models
from signal_pipeline.rollups.postgres_engine import PostgresEngine
from signal_pipeline.settings import Settings


@pytest.mark.parametrize("role", ["signal_writer", "signal_api", "signal_admin"])
def test_the_writer_and_those_who_do_its_work_ingest(
    as_role: As, settings: Settings, connection: Connection, role: str
) -> None:
    with closing(
        Ingest.from_settings(settings, as_role(role), lambda: datetime.now(UTC))
    ) as ingest:
        lines = traffic(yesterday(), 30)
        assert ingest.ingest_lines(lines).accepted == 30
        assert ingest.ingest_lines(lines).duplicate == 30
    assert connection.execute("select count(*) from signal.events").fetchone() == (30,)


@pytest.mark.parametrize("role", ["signal_builder", "signal_admin"])
@pytest.mark.parametrize("engine", ["duckdb", "postgres"])
def test_the_builder_and_the_admin_build(
    as_role: As, settings: Settings, models: Models, fill: Fill, engine: str, role: str
) -> None:
    fill(yesterday(), 30)
    database = as_role(role)
    chosen = (
        PostgresEngine() if engine == "postgres" else DuckdbEngine(database.url, settings.tmp_path)
    )
    assert build_day(database, chosen, models, yesterday()).raw_events == 30


def test_the_api_reports_with_its_labels(as_role: As, models: Models, filled: None) -> None:
    report = rollup_report(as_role("signal_api"), models, "app", yesterday(), today())
    assert int(frame(report)[frame(report).event_type == "(all)"].events.sum()) == 60


def test_the_admin_purges_and_erases(
    as_role: As,
    models: Models,
    settings: Settings,
    fill: Fill,
    filled: None,
    connection: Connection,
) -> None:
    admin = as_role("signal_admin")
    due = due_day() - timedelta(days=1)
    fill(due, 20)
    build_day(admin, DuckdbEngine(admin.url, settings.tmp_path), models, due)
    assert retention.purge_due_days(admin, models, RETENTION_DAYS).purged == [due]
    erased = erase(admin, Subject.entity("journey", str(uuid.UUID(int=3))), b"a" * 32)
    assert {day.state for day in erased.days} == {"open", "purged"}


def test_the_readers_url_reads_rollups_only(database: Database, filled: None) -> None:
    url = reader_url(database)
    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute("select current_user").fetchone() == ("signal_reader",)
        assert connection.execute(
            "select count(*) > 0 from signal_reporting.daily_app_activity"
        ).fetchone() == (True,)
        connection.execute("reset role")
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("select count(*) from signal.events")


def test_the_readers_url_has_no_other_rights_to_go_back_to(
    database: Database, filled: None
) -> None:
    with psycopg.connect(reader_url(database), autocommit=True) as connection:
        connection.execute("set role none")
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("select count(*) from signal.events")


def test_where_the_reader_cannot_log_in_nobody_elses_login_is_lent(
    database: Database, connection: Connection
) -> None:
    connection.execute("alter role signal_reader nologin")
    try:
        with pytest.raises(ReaderError, match="alter role signal_reader login password"):
            reader_url(database)
    finally:
        connection.execute("alter role signal_reader login")


def test_the_api_sees_the_status_of_days(
    as_role: As, filled: None, environment: Settings, tmp_path: Path
) -> None:
    url = as_role("signal_api").url
    shown = run_command("status", "--json", cwd=tmp_path, SIGNAL_DATABASE_URL=url)
    assert shown.returncode == 0, shown.stderr
    assert [day["day"] for day in last_json(shown.stdout)["days"]] == [
        str(due_day()),
        str(yesterday()),
    ]  # type: ignore[attr-defined]
    assert (
        run_command("status", "--receipts", cwd=tmp_path, SIGNAL_DATABASE_URL=url).returncode == 1
    )
    refused = run_command("status", cwd=tmp_path, SIGNAL_DATABASE_URL=as_role("signal_reader").url)
    assert (refused.returncode, "role for its work" in refused.stderr) == (1, True)
