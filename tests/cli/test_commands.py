"""What holds for every command, as a user runs it: exit codes and errors of one line."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from conftest import SECRET
from psycopg.conninfo import conninfo_to_dict
from support.commands import Signal, error_of, last_json, run_command
from support.days import yesterday
from support.traffic import line

from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only


def test_an_unreachable_database_is_one_line(signal: Signal, tmp_path: Path) -> None:
    url = "postgresql://someone:a-password@127.0.0.1:1/none"
    done = signal("status", SIGNAL_DATABASE_URL=url)
    assert done.returncode == 1
    assert "cannot reach PostgreSQL" in error_of(done)
    assert "a-password" not in done.stderr


NOT_THERE = "postgresql://someone:a-password@127.0.0.1:1/none"


@pytest.mark.parametrize(
    ("arguments", "url"),
    [
        (("migrate",), NOT_THERE),
        (("migrate",), "no-url a-password"),
        (("ingest", "-"), NOT_THERE),
        (("backfill", "--from", "2026-01-01", "--to", "2026-01-02"), NOT_THERE),
        (("report", "app", "--from", "2026-01-01", "--to", "2026-01-02"), "no-url a-password"),
        (("dev",), NOT_THERE),
    ],
)
def test_every_command_says_that_the_database_is_not_there(
    signal: Signal, arguments: tuple[str, ...], url: str
) -> None:
    done = signal(*arguments, stdin=line(), SIGNAL_DATABASE_URL=url)
    assert done.returncode == 1
    assert "PostgreSQL" in error_of(done)
    assert "a-password" not in done.stdout + done.stderr


def test_files_that_cannot_be_opened_are_named(signal: Signal, tmp_path: Path) -> None:
    arguments = ("--days", 1, "--events-per-day", 10, "--out", "no/such/folder/file")
    assert (
        error_of(signal("simulate", *arguments))
        == "error: No such file or directory: no/such/folder/file"
    )
    (tmp_path / "file").touch()
    done = signal("status", SIGNAL_DATABASE_URL=None, SIGNAL_HOME=str(tmp_path / "file" / "home"))
    assert done.returncode == 1
    assert "Not a directory" in error_of(done)


@pytest.mark.parametrize(
    ("secret", "text"), [(None, "SIGNALS_SALT_SECRET is missing"), ("short", "32 bytes")]
)
def test_production_refuses_a_missing_or_short_secret(
    signal: Signal, tmp_path: Path, secret: str | None, text: str
) -> None:
    (tmp_path / "events").write_bytes(line())
    done = signal(
        "ingest", tmp_path / "events", SIGNAL_ENV="production", SIGNALS_SALT_SECRET=secret
    )
    assert done.returncode == 1
    assert text in error_of(done)
    assert SECRET not in done.stderr


def test_a_server_needs_an_explicit_environment(signal: Signal) -> None:
    done = signal("status", SIGNAL_ENV=None)
    assert done.returncode == 1
    assert "SIGNAL_ENV must be set" in error_of(done)


def test_a_wrong_setting_is_named_without_its_value(signal: Signal) -> None:
    done = signal("status", SIGNAL_RETENTION_DAYS="forever-and-a-day")
    assert done.returncode == 1
    assert "SIGNAL_RETENTION_DAYS" in error_of(done)
    assert "forever-and-a-day" not in done.stderr


def test_a_database_without_the_schema_says_what_to_run(
    signal: Signal, connection: Connection
) -> None:
    connection.execute("drop schema signal cascade")
    done = signal("ingest", "-", stdin=line())
    assert done.returncode == 1
    assert "signal-pipeline migrate" in error_of(done)
    assert signal("migrate").returncode == 0
    assert signal("migrate").returncode == 0
    assert last_json(signal("ingest", "-", "--json", stdin=line()))["accepted"] == 1


def test_a_broken_catalogue_is_one_line(signal: Signal, tmp_path: Path) -> None:
    broken = tmp_path / "catalogue.yaml"
    broken.write_text("version: 1\napps: {}\nsurprise: 1\n")
    done = signal("ingest", "-", stdin=line(), SIGNAL_CATALOGUE=str(broken))
    assert done.returncode == 1
    assert "catalogue.yaml" in error_of(done)


@pytest.mark.parametrize(
    "arguments",
    [
        ("backfill", "--from", "2026-02-30", "--to", "2026-03-01"),
        ("backfill", "--from", "soon", "--to", "2026-03-01"),
        ("backfill", "--from", "2026-03-02", "--to", "2026-03-01"),
        ("report", "app", "--from", "2026-03-02", "--to", "2026-03-01"),
        ("report", "--from", "2026-03-01", "--to", "2026-03-02"),
        ("report", "app", "--from", "2026-03-01", "--to", "2026-03-02", "--by", "month"),
        ("report", "app", "--from", "2026-03-01", "--to", "2026-03-02", "--where", "route=/"),
        (
            "report",
            "--group-by",
            "app",
            "--from",
            "2026-03-01",
            "--to",
            "2026-03-02",
            "--by",
            "week",
        ),
        (
            "report",
            "--group-by",
            "app",
            "--from",
            "2026-03-01",
            "--to",
            "2026-03-02",
            "--where",
            "route",
        ),
        (
            "report",
            "--group-by",
            "os",
            "--from",
            "2026-03-01",
            "--to",
            "2026-03-02",
            "--where",
            "app=a",
            "--app",
            "b",
        ),
        ("report", "moon", "--from", "2026-03-01", "--to", "2026-03-02"),
        ("report", "--group-by", "moon", "--from", "2026-03-01", "--to", "2026-03-02"),
        ("report", "app", "--from", "2026-03-01", "--to", "2026-03-02", "--app", "journey-admin"),
        (
            "report",
            "--group-by",
            "app",
            "--from",
            "2026-03-01",
            "--to",
            "2026-03-02",
            "--where",
            "device=desk",
        ),
        (
            "backfill",
            "--from",
            "2026-03-01",
            "--to",
            "2026-03-02",
            "--rollup",
            "daily_moon_activity",
        ),
        ("retention", "--as-of", "2999-01-01"),
        ("retention", "--as-of", "0001-01-01"),
        ("simulate", "--days", "1000000", "--events-per-day", "1"),
        ("simulate", "--days", "10", "--events-per-day", "1", "--end", "0001-01-05"),
        ("simulate", "--days", "2", "--events-per-day", "1", "--end", "2000-01-01"),
        ("retention", "--purge-incomplete", "2026-01-01"),
        ("retention", "--reason", "x"),
        ("retention", "--purge-incomplete", "2026-01-01", "--reason", "x", "--dry-run"),
        ("retention", "--purge-incomplete", "2026-01-01", "--reason", "x", "--as-of", "2026-07-01"),
        ("no-such-command",),
        ("ingest",),
    ],
)
def test_wrong_usage_exits_2(signal: Signal, arguments: tuple[str, ...]) -> None:
    done = signal(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_every_command_of_the_readme_has_help(signal: Signal) -> None:
    names = [
        "migrate",
        "ingest",
        "simulate",
        "backfill",
        "retention",
        "status",
        "report",
        "dev",
        "demo",
        "serve",
        "schema",
        "token",
    ]
    overview = signal("--help").stdout
    for name in names:
        assert name in overview


def test_a_table_shows_a_route_template_as_it_is(signal: Signal, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    at = datetime.fromisoformat(f"{yesterday()}T12:00:00+00:00")
    file.write_bytes(line(at, route="/journeys/[journeyId]/edit"))
    assert signal("ingest", str(file)).returncode == 0
    day = ("--from", str(yesterday()), "--to", str(yesterday()))
    assert "/journeys/[journeyId]/edit" in signal("report", "--group-by", "route", *day).stdout


def test_a_migration_that_may_not_make_the_roles_says_so(
    signal: Signal, connection: Connection, database: Database
) -> None:
    assert "warning" not in signal("migrate").stderr
    url = database.url.replace("postgres@", "test_owner@").replace(
        "/signal_test_", "/owned_signal_test_"
    )
    name = conninfo_to_dict(url)["dbname"]
    connection.execute("create role test_owner login")
    connection.execute(f"create database {name} owner test_owner")  # type: ignore[arg-type]
    connection.execute("alter role signal_builder rename to test_builder_away")
    try:
        done = signal("migrate", SIGNAL_DATABASE_URL=url)
        with Database(url).connect() as owned:
            open_to_all = owned.execute(
                "select p.proname from pg_proc as p where p.pronamespace = 'signal'::regnamespace"
                " and p.prosecdef and p.prorettype <> 'trigger'::regtype and"
                " has_function_privilege('public', p.oid, 'execute')"
            ).fetchall()
    finally:
        connection.execute("alter role test_builder_away rename to signal_builder")
        connection.execute(f"drop database {name} with (force)")  # type: ignore[arg-type]
        connection.execute("drop role test_owner")
    assert done.returncode == 0
    assert "are missing: signal_builder" in done.stderr
    assert "CREATEROLE" in done.stderr
    # Functions with their owner's rights are closed to others even without the roles.
    assert open_to_all == []


def test_an_interrupted_command_says_what_stays(environment: Settings, tmp_path: Path) -> None:
    """Ctrl-C comes while the command works."""
    program = (
        "import os, signal\n"
        "from signal_pipeline.catalogue import load\n"
        "load.load_catalogue = lambda *_: os.kill(os.getpid(), signal.SIGINT)\n"
        "from signal_pipeline.cli import main; main()"
    )
    done = run_command("catalogue", cwd=tmp_path, program=program)
    assert (done.returncode, done.stdout) == (130, "")
    assert error_of(done) == "error: interrupted; what was committed stays"
