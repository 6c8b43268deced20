"""The command as a user runs it: real processes, exit codes, one-line errors, JSON."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from conftest import SECRET, Fill
from psycopg.conninfo import conninfo_to_dict
from support import commands
from support.commands import run_command
from support.traffic import line, traffic

from signal_pipeline.ingest.compressed import zstd
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.settings import Settings

TODAY = date.today()
YESTERDAY = TODAY - timedelta(days=1)
Signal = Callable[..., subprocess.CompletedProcess[str]]


pytestmark = pytest.mark.embedded_only


@pytest.fixture
def signal(environment: Settings, tmp_path: Path) -> Signal:
    """Runs the command with the test's settings; keyword arguments change the environment."""
    return partial(run_command, cwd=tmp_path)


def last_json(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    """The JSON object at the end of stdout."""
    return commands.last_json(done.stdout)


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of an error; fails on a traceback."""
    return commands.error_of(done.stderr)


def test_ingest_prints_closed_books(signal: Signal, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    good = traffic(YESTERDAY, 10)
    file.write_bytes(b"\n".join([*good, good[0], b"torn {", line(eventType="no_such_type"), b""]))
    done = signal("ingest", file, "--json")
    assert done.returncode == 0
    assert last_json(done) == {
        "received": 13,
        "accepted": 10,
        "duplicate": 1,
        "dropped": {"malformed": 1, "unknown_event_type": 1},
    }
    assert file.exists()
    again = last_json(signal("ingest", file, "--json"))
    assert (again["accepted"], again["duplicate"]) == (0, 11)


def test_ingest_reads_stdin(signal: Signal) -> None:
    done = signal("ingest", "-", "--json", stdin=b"\n".join(traffic(YESTERDAY, 3)))
    assert last_json(done)["accepted"] == 3


def test_ingest_reads_marked_and_compressed_content_of_any_name_and_from_a_pipe(
    signal: Signal, tmp_path: Path
) -> None:
    lines = [b"".join(text + b"\n" for text in traffic(YESTERDAY, 10, seed)) for seed in range(4)]
    (tmp_path / "marked").write_bytes(b"\xef\xbb\xbf" + lines[0])
    (tmp_path / "events.log").write_bytes(gzip.compress(lines[1]))
    (tmp_path / "plain.gz").write_bytes(lines[2])
    done = signal(
        "ingest", "marked", "events.log", "plain.gz", "-", "--json", stdin=zstd.compress(lines[3])
    )
    assert done.returncode == 0
    assert last_json(done) == {"received": 40, "accepted": 40, "duplicate": 0, "dropped": {}}
    assert "warning" not in done.stderr


def test_files_of_another_form_are_named_and_the_others_ingested(
    signal: Signal, tmp_path: Path
) -> None:
    good = b"".join(text + b"\n" for text in traffic(YESTERDAY, 10))
    (tmp_path / "array.json").write_bytes(b"[" + line(route="/secret-mark") + b"]")
    (tmp_path / "good").write_bytes(good)
    (tmp_path / "short.gz").write_bytes(gzip.compress(good)[:-1])
    done = signal(
        "ingest",
        "array.json",
        "good",
        "short.gz",
        "-",
        "--json",
        stdin=good.decode().encode("utf-16"),
    )
    assert done.returncode == 1
    assert last_json(done) == {"received": 20, "accepted": 10, "duplicate": 10, "dropped": {}}
    error = error_of(done)
    assert "array.json: looks like a JSON array, not like NDJSON" in error
    assert "short.gz: holds gzip data that is cut short" in error
    assert "-: looks like UTF-16 text" in error
    assert "good" not in error.replace("short.gz", "")
    assert "secret-mark" not in done.stdout + done.stderr


def test_a_file_that_is_mostly_malformed_is_warned_of_without_its_text(
    signal: Signal, tmp_path: Path
) -> None:
    good = traffic(YESTERDAY, 4)
    (tmp_path / "[b]half").write_bytes(
        b"\n".join([b"", good[0], b"secret-mark {", b"secret-mark", b"", good[1]])
    )
    (tmp_path / "[b]most").write_bytes(
        b"\n".join([b"", good[2], b"secret-mark {", b"secret-mark", b"", b"["])
    )
    done = signal("ingest", "[b]half", "[b]most")
    assert done.returncode == 0
    warnings = [text for text in done.stderr.splitlines() if "warning" in text]
    assert warnings == ["warning: [b]most: 3 of 4 lines are malformed; the first is line 3"]
    assert "secret-mark" not in done.stdout + done.stderr


def test_a_missing_file_and_a_directory_are_named(signal: Signal, tmp_path: Path) -> None:
    missing = signal("ingest", tmp_path / "none.ndjson")
    assert (missing.returncode, "no such file" in error_of(missing)) == (1, True)
    folder = signal("ingest", tmp_path)
    assert (folder.returncode, "is a directory" in error_of(folder)) == (1, True)


def test_an_empty_file_is_no_event(signal: Signal, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    done = signal("ingest", tmp_path / "empty", "--json")
    assert done.returncode == 0
    assert last_json(done) == {"received": 0, "accepted": 0, "duplicate": 0, "dropped": {}}


def test_binary_noise_is_counted_and_the_good_line_kept(signal: Signal, tmp_path: Path) -> None:
    file = tmp_path / "noise"
    file.write_bytes(bytes(range(256)) * 40 + b"\n" + traffic(YESTERDAY, 1)[0] + b"\n\xff\xfe\x00")
    counts = last_json(signal("ingest", file, "--json"))
    assert counts["accepted"] == 1
    assert set(counts["dropped"]) == {"malformed"}  # type: ignore[call-overload]


def test_a_line_of_50_mb_is_one_drop(signal: Signal, tmp_path: Path) -> None:
    file = tmp_path / "long"
    with file.open("wb") as stream:
        stream.write(b'{"eventType":"' + b"x" * 50_000_000 + b'"}\n')
        stream.write(traffic(YESTERDAY, 1)[0] + b"\n")
    counts = last_json(signal("ingest", file, "--json"))
    assert (counts["received"], counts["accepted"], counts["dropped"]) == (2, 1, {"malformed": 1})


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


def test_a_later_missing_file_stops_before_the_first_is_read(
    signal: Signal, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(line())
    assert signal("ingest", "a", "none").returncode == 1
    assert last_json(signal("ingest", "a", "--json"))["accepted"] == 1


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
        ("retention", "--purge-incomplete", "2026-01-01"),
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


def test_backfill_builds_refuses_and_says_so(signal: Signal, fill: Fill) -> None:
    fill(YESTERDAY)
    tomorrow = TODAY + timedelta(days=1)
    plan = signal(
        "backfill",
        "--from",
        YESTERDAY,
        "--to",
        tomorrow,
        "--plan",
        "--json",
        SIGNAL_DAGSTER_DATABASE_URL=None,
    )
    assert plan.returncode == 0
    assert last_json(plan)["refused"] == [{"day": str(tomorrow), "reason": "after today"}]
    days = last_json(signal("status", "--json"))["days"]
    assert {state for day in days for state in day["rollups"].values()} == {"missing"}  # type: ignore[attr-defined]


def test_a_plan_shows_the_difference_and_changes_nothing(
    signal: Signal, fill: Fill, connection: Connection
) -> None:
    fill(YESTERDAY)
    done = signal("backfill", "--from", YESTERDAY, "--to", YESTERDAY, "--plan", "--diff", "--json")
    assert done.returncode == 0
    value = last_json(done)
    assert (value["built"], value["would_build"]) == ([], [str(YESTERDAY)])
    assert len(value["differences"]) == 6  # type: ignore[arg-type]
    first = value["differences"][0]  # type: ignore[index]
    assert (first["stored_events"], first["computed_events"]) == (0, 25)
    assert "6 of 6 rollup days would change; nothing was changed now" in done.stderr
    assert connection.execute("select count(*) from signal.daily_app_activity").fetchone() == (0,)
    assert signal("backfill", "--from", YESTERDAY, "--to", YESTERDAY, "--diff").returncode == 2


def test_status_shows_events_by_the_books_and_says_so(
    signal: Signal, fill: Fill, connection: Connection
) -> None:
    fill(YESTERDAY, 12)
    connection.execute(
        "delete from signal.events where id = (select min(id::text)::uuid from signal.events)"
    )
    done = signal("status", "--json")
    assert "by the books" in done.stderr
    assert "by the books" in signal("status", "--help").stdout
    (day,) = last_json(done)["days"]  # type: ignore[misc]
    assert (day["day"], day["events"], day["version"], day["state"]) == (
        str(YESTERDAY),
        12,
        1,
        "open",
    )
    assert set(day["rollups"].values()) == {"missing"}


def test_status_names_the_days_that_it_does_not_list(signal: Signal, fill: Fill) -> None:
    days = [TODAY - timedelta(days=n) for n in (5, 4, 3, 2, 1)]
    fill(days[0])
    fill(days[3])
    done = signal("status", "--json")
    assert [day["day"] for day in last_json(done)["days"]] == [str(days[0]), str(days[3])]  # type: ignore[attr-defined]
    note = (
        f"3 day(s) are not listed: no event of them came, and nothing was built: {days[1]} to"
        f" {days[2]}, {days[4]}"
    )
    assert f"note: {note}" in done.stderr


def test_status_labels_a_day_whose_users_are_not_exact(
    signal: Signal, fill: Fill, connection: Connection
) -> None:
    fill(YESTERDAY)
    assert "labels" not in last_json(signal("status", "--json"))["days"][0]  # type: ignore[index]
    connection.execute("insert into signal.address_gaps values (%s, 'cms', 9, 0)", [YESTERDAY])
    connection.execute("insert into signal.day_keys values (%s, 'another')", [YESTERDAY])
    done = signal("status", "--json")
    assert last_json(done)["days"][0]["labels"] == ["degraded", "over-counted"]  # type: ignore[index]
    assert "degraded, over-counted" in done.stderr


def test_simulate_writes_the_same_file_twice(signal: Signal, tmp_path: Path) -> None:
    for name in ("a", "b"):
        arguments = (
            "--days",
            2,
            "--events-per-day",
            300,
            "--seed",
            7,
            "--end",
            "2026-05-06",
            "--out",
            name,
        )
        assert signal("simulate", *arguments).returncode == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert len((tmp_path / "a").read_bytes().splitlines()) > 500


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
    at = datetime.fromisoformat(f"{YESTERDAY}T12:00:00+00:00")
    file.write_bytes(line(at, route="/journeys/[journeyId]/edit"))
    assert signal("ingest", str(file)).returncode == 0
    day = ("--from", str(YESTERDAY), "--to", str(YESTERDAY))
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
    assert "signal_builder cannot be made" in done.stderr
    assert "CREATEROLE" in done.stderr
    # Functions with their owner's rights are closed to others even without the roles.
    assert open_to_all == []
