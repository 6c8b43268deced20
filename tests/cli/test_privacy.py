"""Data-subject requests and the kill switch, as a user runs them: real processes."""

from __future__ import annotations

import dataclasses
import hmac
import json
import os
import re
import stat
import subprocess
import uuid
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import psycopg
import pytest
from conftest import SECRET, START_DATE, Build, Fill
from support import commands
from support.traffic import CHROME, line

from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.privacy import subjects
from signal_pipeline.settings import Settings

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
    """The JSON object at the end of stdout."""
    return commands.last_json(done.stdout)


def error_of(done: Done) -> str:
    """The one line of an error; fails on a traceback."""
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
    export = tmp_path / "rows[final].ndjson"
    found = signal("subject", "--day", YESTERDAY, "--export", export, stdin=PERSON)
    assert found.returncode == 0, found.stderr
    user_hash = found.stdout.strip()
    assert len(user_hash) == 64
    rows = [json.loads(text) for text in export.read_text().splitlines()]
    assert [(row["userHash"], row["route"]) for row in rows] == [(user_hash, "/mine")] * 3
    assert stat.S_IMODE(export.stat().st_mode) == 0o600
    assert f"written to {export};" in found.stderr
    assert ADDRESS not in found.stdout + found.stderr + export.read_text()

    counted = last_json(
        signal("erase", "--user-hash", user_hash, "--day", YESTERDAY, "--dry-run", "--json")
    )
    assert (counted["events"], counted["certificate"]) == (3, None)
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
    assert uuid.UUID(str(last_json(erased)["certificate"]))
    assert signal("subject", "--day", YESTERDAY, stdin=PERSON).stderr.startswith(
        f"0 event(s) on {YESTERDAY} with this hash"
    )
    actions = connection.execute(
        "select action, actor is not null from signal.audit order by id"
    ).fetchall()
    assert actions == [("subject", True), ("erase", True), ("subject", True)]


def test_an_entity_is_erased_by_its_id(signal: Signal, fill: Fill, connection: Connection) -> None:
    fill(YESTERDAY, 100)
    entity = str(uuid.UUID(int=3))
    done = signal("erase", "--entity", "journey", entity.upper(), "--json")
    assert done.returncode == 0, done.stderr
    assert connection.execute(
        "select count(*) from signal.events where entity_id = %s", [entity]
    ).fetchone() == (0,)
    assert entity not in (done.stdout + done.stderr).lower()


def test_an_erasure_waits_for_what_is_spooled(
    signal: Signal, fill: Fill, connection: Connection, tmp_path: Path
) -> None:
    """Events of the subject can wait in the spool.

    If they were stored after the erasure, they would be back.
    """
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
    "the nil session": ["--session", str(uuid.UUID(int=0))],
    "the max session": ["--session", "{FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF}"],
    "unknown type": ["--entity", "private", "x"],
    "no id": ["--entity", "journey", "private-xyz"],
}


def test_a_person_is_found_under_the_rules_of_names_that_hashed_the_day(
    signal: Signal, ingest: Ingest, connection: Connection
) -> None:
    """A Mac's bare WebView was once "Other" with WebKit's version.

    The day keeps that hash.
    """
    webview = (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"
    )
    asked = f"{HOST}\n{ADDRESS}\n{webview}\n".encode()
    ingest.ingest_lines(person(2))
    salt = hmac.digest(SECRET.encode(), str(YESTERDAY).encode(), "sha256")
    earlier = hmac.digest(salt, f"{HOST}\x1f{ADDRESS}\x1fOther|605|macOS".encode(), "sha256")
    connection.execute("update signal.events set user_hash = %s", [earlier])
    now = signal("subject", "--day", YESTERDAY, stdin=asked)
    assert "0 event(s)" in now.stderr and "rules" not in now.stderr
    connection.execute("update signal.day_keys set hash_rules = 1")
    found = signal("subject", "--day", YESTERDAY, stdin=asked)
    assert found.returncode == 0, found.stderr
    assert found.stdout.split()[1:] == [earlier.hex()]
    assert found.stdout.split()[:1] == now.stdout.split()
    assert "2 event(s)" in found.stderr
    assert "the rules by which browsers are named have changed" in found.stderr
    connection.execute("update signal.day_keys set hash_rules = 9")
    assert (
        "rules of names that this version of Signal does not know"
        in signal("subject", "--day", YESTERDAY, stdin=asked).stderr
    )


@pytest.mark.parametrize("arguments", WRONG.values(), ids=WRONG.keys())
def test_an_erasure_that_names_no_subject_is_refused_without_repeating_it(
    signal: Signal, arguments: list[str]
) -> None:
    done = signal("erase", *arguments)
    assert done.returncode == 2
    assert "private" not in error_of(done)


@pytest.mark.parametrize("stdin", [b"", b"host\n", b"a host\n1.2.3.4\nx\n", b"h\nprivate-xyz\nx\n"])
def test_a_person_that_is_not_stated_is_one_line_without_the_input(
    signal: Signal, stdin: bytes
) -> None:
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
    assert "another secret hashed events of this day too" in lost.stderr
    erased = signal("erase", "--user-hash", lost.stdout.strip(), "--day", YESTERDAY, "--dry-run")
    assert (
        f"2 secrets hashed {YESTERDAY}: the same person has another hash under each"
        in erased.stderr
    )
    third = signal(
        "subject", "--day", YESTERDAY, stdin=PERSON, SIGNALS_SALT_SECRET=f"third-{OTHER_SECRET}"
    )
    assert (
        "hashed by another secret alone: whether it holds this person cannot be told"
        in third.stderr
    )


def test_no_rotation_while_something_waits_for_the_present_secret(
    signal: Signal, settings: Settings, connection: Connection, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    signal_there = partial(signal, "rotate-secret", "--json", SIGNAL_SPOOL_DIR=str(spool))
    assert signal_there().returncode == 0
    for folder, name in ((settings.landing_path, "a[b].ndjson"), (spool, "000000000001-ab.spool")):
        folder.mkdir(parents=True)
        (folder / name).write_bytes(b"")
    for other in ("c.NDJSON", "d\nerror: e", os.fsdecode(b"\xff")):
        (settings.landing_path / other).write_bytes(b"")
    (settings.landing_path / "dangling").symlink_to("nowhere")
    for unfinished in (".f.ndjson", "g.tmp"):
        (settings.landing_path / unfinished).write_bytes(b"{}")
    connection.execute("insert into signal.landed_files (content_hmac, bytes) values ('x', 1)")
    done = signal_there()
    assert done.returncode == 1
    assert "1 landed file(s) are begun" in error_of(done)
    assert "5 file(s) wait in the landing, 1 in the spool" in error_of(done)
    assert "a[b].ndjson" in done.stderr
    waiting = last_json(done)["waiting"]
    assert isinstance(waiting, dict)
    assert sorted(waiting.pop("landing")) == [
        "\\udcff",
        "a[b].ndjson",
        "c.NDJSON",
        "d\nerror: e",
        "dangling",
    ]
    assert waiting == {"begun_landed_files": 1, "spool": ["000000000001-ab.spool"]}


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
    (row,) = connection.execute(
        "select action, length(actor), details->>'reason' from signal.audit"
    ).fetchall()
    assert row == ("purge_incomplete", 32, "r" * 200)


def test_the_audits_actor_is_the_systems_user_whatever_the_environment_says(
    signal: Signal, fill: Fill, connection: Connection
) -> None:
    fill(YESTERDAY)
    for name in ("mallory", "alice"):
        signal("subject", "--day", YESTERDAY, stdin=PERSON, LOGNAME=name, USER=name)
    rows = connection.execute("select count(*), count(distinct actor) from signal.audit").fetchall()
    assert rows == [(2, 1)]


def test_a_reason_in_brackets_is_shown_as_it_was_given(signal: Signal, fill: Fill) -> None:
    due = YESTERDAY.fromordinal(YESTERDAY.toordinal() - 180)
    fill(due)
    assert (
        signal(
            "retention", "--purge-incomplete", due, "--reason", "disk lost [/dev/sdb]\x1b[2J"
        ).returncode
        == 0
    )
    shown = signal("status", "--receipts", "--json")
    assert shown.returncode == 0, shown.stderr
    assert "incomplete: disk lost [/dev/sdb]\\x1b[2J" in shown.stderr
    (receipt,) = last_json(shown)["receipts"]  # type: ignore[misc]
    assert receipt["reason"] == "disk lost [/dev/sdb]\x1b[2J"
    refused = signal("retention", "--purge-incomplete", due, "--reason", os.fsdecode(b"\xff"))
    assert refused.returncode == 2
    assert "is not UTF-8 text" in refused.stderr


TODAY = date.today()
DAYS_OF_NOTHING = {
    "to come": (TODAY + timedelta(days=1), "is still to come"),
    "the last of all": (date.max, "is still to come"),
    "before the start": (START_DATE - timedelta(days=1), f"is before the start date {START_DATE}"),
    "the first of all": (date.min, f"is before the start date {START_DATE}"),
    "purged": (YESTERDAY - timedelta(days=200), "is purged: its 25 raw event(s) were deleted at "),
}


@pytest.mark.parametrize(("day", "says"), DAYS_OF_NOTHING.values(), ids=DAYS_OF_NOTHING.keys())
def test_a_day_of_which_nothing_is_kept_is_not_a_day_on_which_nothing_was(
    signal: Signal, fill: Fill, connection: Connection, tmp_path: Path, day: date, says: str
) -> None:
    if "purged" in says:
        fill(day)
        assert signal("retention", "--purge-incomplete", day, "--reason", "a test").returncode == 0
    export = tmp_path / "rows.ndjson"
    erase = ("erase", "--user-hash", "ab" * 32, "--day", day)
    asked = [
        signal("subject", "--day", day, "--export", export, stdin=PERSON),
        signal(*erase),
        signal(*erase, "--dry-run"),
    ]
    for done in asked:
        assert (done.returncode, done.stdout) == (1, "")
        assert f"error: {day} {says}" in error_of(done)
        assert "certificate" not in done.stderr
        assert "0 event" not in done.stderr
    assert not export.exists()
    actions = connection.execute(
        "select action, day, details::text from signal.audit where action <> 'purge_incomplete'"
    )
    assert actions.fetchall() == [("subject", day, '{"events": 0}')]


def test_over_nothing_there_is_no_certificate(
    signal: Signal, fill: Fill, connection: Connection
) -> None:
    fill(YESTERDAY)
    user = ("--user-hash", "ab" * 32, "--day", YESTERDAY)
    for subject in (user, ("--session", uuid.uuid4()), ("--entity", "journey", uuid.uuid4())):
        for options in ((), ("--dry-run",)):
            done = signal("erase", *subject, *options, "--json")
            assert done.returncode == 0, done.stderr
            assert "nothing is stored of it" in done.stderr
            assert "there is no certificate" in done.stderr
            value = last_json(done)
            assert (value["certificate"], value["events"], value["days"], value["notes"]) == (
                None,
                0,
                [],
                [],
            )
    assert connection.execute("select count(*) from signal.audit").fetchone() == (0,)


def test_purged_days_are_named_where_all_days_are_searched(
    signal: Signal, fill: Fill, build: Build
) -> None:
    due = [YESTERDAY - timedelta(days=n) for n in (183, 182, 181)]
    for day in (*due, YESTERDAY):
        fill(day, 200)
        build(day)
    assert signal("retention").returncode == 0
    span = f"{due[0]} to {due[2]}"
    session = signal("erase", "--session", uuid.uuid4(), "--json")
    note = (
        "3 day(s) are purged, their raw events deleted before; nothing of a session is left there:"
        f" {span}"
    )
    assert last_json(session)["notes"] == [note]
    assert f"note: {note}" in session.stderr
    entity = signal("erase", "--entity", "journey", uuid.UUID(int=3))
    assert entity.returncode == 0, entity.stderr
    assert f"of an entity only rows in rollups were left there: {span}" in entity.stderr
    for day in due:
        assert re.search(
            f"{day} \\(purged\\): raw events were deleted before, [1-9]\\d* rollup row",
            entity.stderr,
        )
    assert re.search(f"{YESTERDAY} \\(open\\): [1-9]\\d* event", entity.stderr)


def test_what_may_still_come_is_said(
    signal: Signal, settings: Settings, connection: Connection, tmp_path: Path
) -> None:
    """Today is not over, and events in the landing or a spool are not stored yet."""
    spool = tmp_path / "spool"
    for folder, name in ((settings.landing_path, "a.ndjson"), (spool, "000000000001-ab.spool")):
        folder.mkdir(parents=True)
        (folder / name).write_bytes(b"")
    found = signal("subject", "--day", TODAY, stdin=PERSON, SIGNAL_SPOOL_DIR=str(spool))
    counted = signal("erase", "--session", uuid.uuid4(), "--dry-run", SIGNAL_SPOOL_DIR=str(spool))
    assert (found.returncode, counted.returncode) == (0, 0)
    assert f"note: {TODAY} is not over: more of its events can still come" in found.stderr
    for done in (found, counted):
        assert "note: 1 file(s) wait in the landing: their events are not stored yet" in done.stderr
        assert (
            "note: 1 file(s) wait in SIGNAL_SPOOL_DIR: their events are not stored yet"
            in done.stderr
        )


def test_a_bot_of_todays_rules_is_looked_for_all_the_same(signal: Signal, fill: Fill) -> None:
    fill(YESTERDAY)
    found = signal("subject", "--day", YESTERDAY, stdin=f"{HOST}\n{ADDRESS}\ncurl/8.0\n".encode())
    assert found.returncode == 0, found.stderr
    assert len(found.stdout.strip()) == 64
    assert "note: today's rules take line 3 for the user agent of a bot" in found.stderr


def test_events_of_a_bot_that_earlier_rules_took_for_a_person_are_found(
    database: Database, settings: Settings, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest.ingest_lines(person())
    today = subjects.parse_user_agent
    monkeypatch.setattr(
        subjects, "parse_user_agent", lambda text: dataclasses.replace(today(text), bot=True)
    )
    found = subjects.find_subject(settings, database, YESTERDAY, PERSON.decode().splitlines())
    assert len(found.rows) == 3
    assert any("of a bot" in note for note in found.notes)
