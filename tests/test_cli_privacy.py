"""Data-subject requests and the kill switch, as a user runs them: real processes."""

from __future__ import annotations

import json
import stat
import subprocess
import uuid
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import commands
import psycopg
import pytest
from conftest import SECRET, Fill
from traffic import CHROME, line

from signal_pipeline.ingest import Ingest
from signal_pipeline.settings import Settings
from signal_pipeline.store.database import Connection

pytestmark = pytest.mark.embedded_only
YESTERDAY = date.today() - timedelta(days=1)
Done = subprocess.CompletedProcess[str]
Signal = Callable[..., Done]

HOST, ADDRESS = "admin.example.org", "198.51.100.77"
PERSON = f"{HOST}\n{ADDRESS}\n{CHROME}\n".encode()
OTHER_SECRET = "another-secret-for-tests-of-more-than-32-bytes"


@pytest.fixture
def signal(environment: Settings, tmp_path: Path) -> Signal:
    """Runs the command with the test's settings; keyword arguments change the environment."""
    return partial(commands.run_command, cwd=tmp_path)


def last_json(done: Done) -> dict[str, object]:
    """The JSON object that stands last on stdout."""
    return commands.last_json(done.stdout)


def error_of(done: Done) -> str:
    """The one line that an error is; fails on a traceback."""
    return commands.error_of(done.stderr)


def person(count: int = 3) -> list[bytes]:
    """Events of one person, yesterday."""
    at = f"{YESTERDAY}T12:00:00+00:00"
    return [line(createdAt=at, host=HOST, ip=ADDRESS, route="/mine") for _ in range(count)]


def test_a_persons_request_from_the_address_to_the_erasure(
    signal: Signal, ingest: Ingest, fill: Fill, connection: Connection, tmp_path: Path
) -> None:
    fill(YESTERDAY)
    ingest.ingest_lines(person())
    export = tmp_path / "rows.ndjson"
    found = signal("subject", "--day", YESTERDAY, "--export", export, stdin=PERSON)
    assert found.returncode == 0, found.stderr
    user_hash = found.stdout.strip()
    assert len(user_hash) == 64
    rows = [json.loads(text) for text in export.read_text().splitlines()]
    assert [(row["userHash"], row["route"]) for row in rows] == [(user_hash, "/mine")] * 3
    assert stat.S_IMODE(export.stat().st_mode) == 0o600
    assert ADDRESS not in found.stdout + found.stderr + export.read_text()

    counted = last_json(signal("erase", "--user-hash", user_hash, "--day", YESTERDAY, "--dry-run", "--json"))
    assert counted["events"] == 3
    erased = signal("erase", "--user-hash", user_hash, "--day", YESTERDAY, "--json")
    assert erased.returncode == 0, erased.stderr
    assert last_json(erased)["days"] == [
        {"day": str(YESTERDAY), "state": "open", "events": 3, "rollup_rows": 0},
    ]
    assert user_hash not in erased.stdout + erased.stderr
    days = last_json(signal("status", "--json"))["days"]
    assert isinstance(days, list)
    assert days[0]["events"] == 25
    assert set(days[0]["rollups"].values()) == {"fresh"}
    assert signal("subject", "--day", YESTERDAY, stdin=PERSON).stderr.startswith("0 event(s)")
    actions = connection.execute("select action, actor is not null from signal.audit order by id").fetchall()
    assert actions == [("subject", True), ("erase", True), ("subject", True)]


def test_an_entity_is_erased_by_its_id(signal: Signal, fill: Fill, connection: Connection) -> None:
    fill(YESTERDAY, 100)
    entity = str(uuid.UUID(int=3))
    done = signal("erase", "--entity", "journey", entity.upper(), "--json")
    assert done.returncode == 0, done.stderr
    assert connection.execute("select count(*) from signal.events where entity_id = %s", [entity]).fetchone() == (0,)
    assert entity not in (done.stdout + done.stderr).lower()


def test_an_erasure_waits_for_what_is_spooled(
    signal: Signal, fill: Fill, connection: Connection, tmp_path: Path
) -> None:
    """Events of the subject may wait there; stored behind the erasure, they would be back."""
    fill(YESTERDAY, 100)
    entity, spool = str(uuid.UUID(int=3)), tmp_path / "spool"
    spool.mkdir()
    there = partial(signal, "erase", "--entity", "journey", entity, SIGNAL_SPOOL_DIR=str(spool))
    held = "select count(*) from signal.events where entity_id = %s"
    before = connection.execute(held, [entity]).fetchone()
    for name in ("000000000001-ab.spool", "000000000002-ab.refused"):
        (spool / name).touch()
        assert there("--dry-run").returncode == 0
        done = there()
        assert done.returncode == 1
        assert "1 file(s) wait in SIGNAL_SPOOL_DIR" in error_of(done)
        assert connection.execute(held, [entity]).fetchone() == before
        (spool / name).unlink()
    assert there().returncode == 0
    assert connection.execute(held, [entity]).fetchone() == (0,)


WRONG = {
    "nothing": [],
    "two subjects": ["--session", str(uuid.uuid4()), "--entity", "journey", str(uuid.uuid4())],
    "a hash without a day": ["--user-hash", "ab" * 32],
    "a day without a hash": ["--session", str(uuid.uuid4()), "--day", str(YESTERDAY)],
    "no hash": ["--user-hash", "private-xyz", "--day", str(YESTERDAY)],
    "no session": ["--session", "private-xyz"],
    "unknown type": ["--entity", "private", "x"],
    "no id": ["--entity", "journey", "private-xyz"],
}


@pytest.mark.parametrize("arguments", WRONG.values(), ids=WRONG.keys())
def test_an_erasure_that_names_no_subject_is_refused_without_repeating_it(signal: Signal, arguments: list[str]) -> None:
    done = signal("erase", *arguments)
    assert done.returncode == 2
    assert "private" not in error_of(done)


@pytest.mark.parametrize("stdin", [b"", b"host\n", b"a host\n1.2.3.4\nx\n", b"h\nprivate-xyz\nx\n"])
def test_a_person_that_is_not_stated_is_one_line_without_the_input(signal: Signal, stdin: bytes) -> None:
    done = signal("subject", "--day", YESTERDAY, stdin=stdin)
    assert done.returncode == 1
    assert "private" not in error_of(done)


def test_rotation_is_explained_and_mixed_days_are_named(signal: Signal, ingest: Ingest) -> None:
    ingest.ingest_lines(person())
    before = last_json(signal("rotate-secret", "--json"))
    assert before["mixed_days"] == []
    signal("ingest", "-", stdin=b"\n".join(person()), SIGNALS_SALT_SECRET=OTHER_SECRET)
    after = signal("rotate-secret", "--json", SIGNALS_SALT_SECRET=OTHER_SECRET)
    assert "kill switch" in after.stderr
    assert last_json(after)["mixed_days"] == [str(YESTERDAY)]
    assert last_json(after)["key_id"] != before["key_id"]
    for secret in (SECRET, OTHER_SECRET):
        assert secret not in after.stdout + after.stderr
    lost = signal("subject", "--day", YESTERDAY, stdin=PERSON, SIGNALS_SALT_SECRET=OTHER_SECRET)
    assert "another secret" in lost.stderr


def test_no_rotation_while_something_waits_for_the_present_secret(
    signal: Signal, settings: Settings, connection: Connection, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    signal_there = partial(signal, "rotate-secret", "--json", SIGNAL_SPOOL_DIR=str(spool))
    assert signal_there().returncode == 0
    for folder, name in ((settings.landing_path, "a[b].ndjson"), (spool, "000000000001-ab.spool")):
        folder.mkdir(parents=True)
        (folder / name).write_bytes(b"")
    connection.execute("insert into signal.landed_files (content_hmac, bytes) values ('x', 1)")
    done = signal_there()
    assert done.returncode == 1
    assert "1 landed file(s) are begun" in error_of(done)
    assert "a[b].ndjson" in done.stderr
    assert last_json(done)["waiting"] == {
        "begun_landed_files": 1,
        "landing": ["a[b].ndjson"],
        "spool": ["000000000001-ab.spool"],
    }


@pytest.mark.parametrize("secret", ["tooshort!", "x" * 31])
def test_a_weak_secret_is_refused_without_showing_it(signal: Signal, secret: str) -> None:
    for command in (["rotate-secret"], ["subject", "--day", YESTERDAY], ["ingest", "-"]):
        done = signal(*command, stdin=PERSON, SIGNALS_SALT_SECRET=secret)
        assert done.returncode == 1
        assert "fewer than 32 bytes" in error_of(done)
        assert secret not in done.stdout + done.stderr


def test_sql_prints_the_readers_url_where_there_is_no_terminal(signal: Signal, fill: Fill) -> None:
    fill(YESTERDAY)
    url = signal("sql").stdout.strip()
    with psycopg.connect(url) as connection:
        assert connection.execute("select current_user").fetchone() == ("signal_reader",)
    assert last_json(signal("sql", "--json")) == {"url": url, "lives": "with its server"}


def test_the_forced_purge_is_audited_with_an_actor_and_a_short_reason(
    signal: Signal, fill: Fill, connection: Connection
) -> None:
    due = YESTERDAY.fromordinal(YESTERDAY.toordinal() - 180)
    fill(due)
    done = signal("retention", "--purge-incomplete", due, "--reason", "r" * 300)
    assert done.returncode == 0, done.stderr
    (row,) = connection.execute("select action, length(actor), details->>'reason' from signal.audit").fetchall()
    assert row == ("purge_incomplete", 32, "r" * 200)


def test_the_audits_actor_is_the_systems_user_whatever_the_environment_says(
    signal: Signal, fill: Fill, connection: Connection
) -> None:
    fill(YESTERDAY)
    for name in ("mallory", "alice"):
        signal("subject", "--day", YESTERDAY, stdin=PERSON, LOGNAME=name, USER=name)
    rows = connection.execute("select count(*), count(distinct actor) from signal.audit").fetchall()
    assert rows == [(2, 1)]
