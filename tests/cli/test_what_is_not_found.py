"""What an officer is told if nothing is found: why, or where it still can be."""

from __future__ import annotations

import dataclasses
import hmac
import re
import uuid
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
from conftest import SECRET, START_DATE, Build, Fill
from support.commands import Signal, error_of, last_json, start_command
from support.data_subject import ADDRESS, HOST, PERSON, person
from support.days import days_ago, due_day, today, tomorrow, yesterday
from support.traffic import line
from support.waits import PATIENCE_SECONDS, until

from signal_pipeline.days.calendar import day_lock
from signal_pipeline.ingest.landing import drain_landing, prepare_landing
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.privacy import subjects
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only
ENTITY = str(uuid.UUID(int=3))
WAITING = "select from pg_locks where not granted"


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
    salt = hmac.digest(SECRET.encode(), str(yesterday()).encode(), "sha256")
    earlier = hmac.digest(salt, f"{HOST}\x1f{ADDRESS}\x1fOther|605|macOS".encode(), "sha256")
    connection.execute("update signal.events set user_hash = %s", [earlier])
    now = signal("subject", "--day", yesterday(), stdin=asked)
    assert "0 event(s)" in now.stderr and "rules" not in now.stderr
    connection.execute("update signal.day_keys set hash_rules = 1")
    found = signal("subject", "--day", yesterday(), stdin=asked)
    assert found.returncode == 0, found.stderr
    assert found.stdout.split()[1:] == [earlier.hex()]
    assert found.stdout.split()[:1] == now.stdout.split()
    assert "2 event(s)" in found.stderr
    assert "the rules by which browsers are named have changed" in found.stderr
    connection.execute("update signal.day_keys set hash_rules = 9")
    assert (
        "rules of names that this version of Signal does not know"
        in signal("subject", "--day", yesterday(), stdin=asked).stderr
    )


DAYS_OF_NOTHING = {
    "to come": (tomorrow, "is still to come"),
    "the last of all": (lambda: date.max, "is still to come"),
    "before the start": (
        lambda: START_DATE - timedelta(days=1),
        f"is before the start date {START_DATE}",
    ),
    "the first of all": (lambda: date.min, f"is before the start date {START_DATE}"),
    "purged": (
        lambda: due_day(21),
        "is purged: its 25 raw event(s) were deleted at ",
    ),
}


@pytest.mark.parametrize(("which", "says"), DAYS_OF_NOTHING.values(), ids=DAYS_OF_NOTHING.keys())
def test_a_day_of_which_nothing_is_kept_is_not_a_day_on_which_nothing_was(
    signal: Signal,
    fill: Fill,
    connection: Connection,
    tmp_path: Path,
    which: Callable[[], date],
    says: str,
) -> None:
    day = which()
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
    fill(yesterday())
    more = f"{today()} is not over: more of its events can still come"
    for subject, notes in (
        (("--user-hash", "ab" * 32, "--day", yesterday()), []),
        (("--session", uuid.uuid4()), [more]),
        (("--entity", "journey", uuid.uuid4()), [more]),
    ):
        for options in ((), ("--dry-run",)):
            done = signal("erase", *subject, *options, "--json")
            assert done.returncode == 0, done.stderr
            assert "nothing is stored of this subject" in done.stderr
            assert "there is no certificate" in done.stderr
            value = last_json(done)
            assert (value["certificate"], value["events"], value["days"], value["notes"]) == (
                None,
                0,
                [],
                notes,
            )
    assert connection.execute("select count(*) from signal.audit").fetchone() == (0,)


def test_purged_days_are_named_where_all_days_are_searched(
    signal: Signal, fill: Fill, build: Build
) -> None:
    due = [due_day(n) for n in (4, 3, 2)]
    for day in (*due, yesterday()):
        fill(day, 200)
        build(day)
    assert signal("retention").returncode == 0
    span = f"{due[0]} to {due[2]}"
    session = signal("erase", "--session", uuid.uuid4(), "--json")
    note = (
        "3 day(s) are purged: their raw events were deleted earlier, and nothing of a session is left there:"
        f" {span}"
    )
    assert last_json(session)["notes"] == [
        note,
        f"{today()} is not over: more of its events can still come",
    ]
    assert f"note: {note}" in session.stderr
    entity = signal("erase", "--entity", "journey", uuid.UUID(int=3))
    assert entity.returncode == 0, entity.stderr
    assert f"of an entity only rows in rollups were left there: {span}" in entity.stderr
    for day in due:
        assert re.search(
            f"{day} \\(purged\\): raw events were deleted before, [1-9]\\d* rollup row",
            entity.stderr,
        )
    assert re.search(f"{yesterday()} \\(open\\): [1-9]\\d* event", entity.stderr)


def test_what_may_still_come_is_said(
    signal: Signal, settings: Settings, connection: Connection, tmp_path: Path
) -> None:
    """Today is not over, and events in the landing or a spool are not stored yet."""
    spool = tmp_path / "spool"
    for folder, name in ((settings.landing_path, "a.ndjson"), (spool, "000000000001-ab.spool")):
        folder.mkdir(parents=True)
        (folder / name).write_bytes(b"")
    found = signal("subject", "--day", today(), stdin=PERSON, SIGNAL_SPOOL_DIR=str(spool))
    counted = signal(
        *("erase", "--session", uuid.uuid4(), "--dry-run", "--json"), SIGNAL_SPOOL_DIR=str(spool)
    )
    assert (found.returncode, counted.returncode) == (0, 0)
    assert f"note: {today()} is not over: more of its events can still come" in found.stderr
    for done in (found, counted):
        assert "note: 1 file(s) wait in the landing: their events are not stored yet" in done.stderr
        assert (
            "note: 1 file(s) wait in SIGNAL_SPOOL_DIR: their events are not stored yet"
            in done.stderr
        )
    waiting = [note for note in last_json(counted)["notes"] if "file(s) wait in" in note]
    assert len(waiting) == 2


def test_more_of_a_session_can_always_come_today(signal: Signal, ingest: Ingest) -> None:
    """Only the client ends a session with its date, and another client need not."""
    session = str(uuid.uuid4())
    ingest.ingest_lines([line(sessionId=session, createdAt=f"{yesterday()}T12:00:00+00:00")])
    erased = signal("erase", "--session", session, "--dry-run", "--json")
    assert last_json(erased)["notes"] == [
        f"{today()} is not over: more of its events can still come"
    ]


LEFT = (
    "note: 1 file(s) left the landing meanwhile: their events can have been stored after they were"
)


@pytest.fixture
def drain_replay(settings: Settings, database: Database, ingest: Ingest) -> Callable[[], object]:
    """Drains the landing, in which a file with an event of ENTITY waits."""
    prepare_landing(settings.landing_path)
    event = line(entityType="journey", entityId=ENTITY, createdAt=f"{days_ago(2)}T12:00:00+00:00")
    (settings.landing_path / "a.ndjson").write_bytes(event + b"\n")
    return lambda: drain_landing(database, ingest, settings.landing_path, SECRET.encode())


def test_a_file_that_is_drained_while_an_erasure_counts_is_told(
    environment: Settings,
    fill: Fill,
    connection: Connection,
    drain_replay: Callable[[], object],
    tmp_path: Path,
) -> None:
    fill(yesterday(), 100)
    with day_lock(connection, yesterday()):
        process = start_command("erase", "--entity", "journey", ENTITY, "--json", cwd=tmp_path)
        until(lambda: connection.execute(WAITING).fetchone() is not None)
        drain_replay()
    stdout, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, stderr
    left = "select count(*) from signal.events where entity_id = %s"
    assert connection.execute(left, [ENTITY]).fetchone() == (1,)
    assert LEFT in stderr
    assert LEFT.removeprefix("note: ") in str(last_json(stdout)["notes"])


def test_a_file_that_is_drained_while_a_person_is_looked_for_is_told(
    environment: Settings,
    fill: Fill,
    connection: Connection,
    drain_replay: Callable[[], object],
    tmp_path: Path,
) -> None:
    fill(yesterday())
    with connection.transaction():
        connection.execute("select from signal.days where day = %s for update", [yesterday()])
        process = start_command("subject", "--day", yesterday(), cwd=tmp_path)
        assert process.stdin is not None
        process.stdin.write(PERSON.decode())
        process.stdin.close()
        process.stdin = None
        until(lambda: connection.execute(WAITING).fetchone() is not None)
        drain_replay()
    _, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, stderr
    assert LEFT in stderr


def test_a_bot_of_todays_rules_is_looked_for_all_the_same(signal: Signal, fill: Fill) -> None:
    fill(yesterday())
    found = signal("subject", "--day", yesterday(), stdin=f"{HOST}\n{ADDRESS}\ncurl/8.0\n".encode())
    assert found.returncode == 0, found.stderr
    assert len(found.stdout.strip()) == 64
    assert "note: today's rules take line 3 for the user agent of a bot" in found.stderr


def test_events_of_a_bot_that_earlier_rules_took_for_a_person_are_found(
    database: Database, settings: Settings, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest.ingest_lines(person())
    parse = subjects.parse_user_agent
    monkeypatch.setattr(
        subjects, "parse_user_agent", lambda text: dataclasses.replace(parse(text), bot=True)
    )
    found = subjects.find_subject(settings, database, yesterday(), PERSON.decode().splitlines())
    assert len(found.rows) == 3
    assert any("of a bot" in note for note in found.notes)
