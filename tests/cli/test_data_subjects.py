"""A data subject's request, as an officer answers it: `subject` and `erase`."""

from __future__ import annotations

import json
import stat
import uuid
from functools import partial
from pathlib import Path
from signal import SIGINT

import pytest
from conftest import Fill
from support.commands import Done, Signal, error_of, last_json, start_command
from support.data_subject import ADDRESS, PERSON, person
from support.days import days_ago, yesterday
from support.entities import ingest_journeys, wide_catalogue
from support.waits import PATIENCE_SECONDS, until

from signal_pipeline.days.calendar import day_lock
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only


def test_a_persons_request_from_the_address_to_the_erasure(
    signal: Signal, ingest: Ingest, fill: Fill, connection: Connection, tmp_path: Path
) -> None:
    fill(yesterday())
    ingest.ingest_lines(person())
    export = tmp_path / "rows[final].ndjson"
    found = signal("subject", "--day", yesterday(), "--export", export, stdin=PERSON)
    assert found.returncode == 0, found.stderr
    user_hash = found.stdout.strip()
    assert len(user_hash) == 64
    rows = [json.loads(text) for text in export.read_text().splitlines()]
    assert [(row["userHash"], row["route"]) for row in rows] == [(user_hash, "/mine")] * 3
    assert stat.S_IMODE(export.stat().st_mode) == 0o600
    assert f"written to {export};" in found.stderr
    assert ADDRESS not in found.stdout + found.stderr + export.read_text()

    counted = last_json(
        signal("erase", "--user-hash", user_hash, "--day", yesterday(), "--dry-run", "--json")
    )
    assert (counted["events"], counted["certificate"]) == (3, None)
    erased = signal("erase", "--user-hash", user_hash, "--day", yesterday(), "--json")
    assert erased.returncode == 0, erased.stderr
    assert last_json(erased)["days"] == [
        {"day": str(yesterday()), "state": "open", "events": 3, "rollup_rows": 0},
    ]
    assert user_hash not in erased.stdout + erased.stderr
    days = last_json(signal("status", "--json"))["days"]
    assert isinstance(days, list)
    assert days[0]["events"] == 25
    assert set(days[0]["rollups"].values()) == {"fresh"}
    assert uuid.UUID(str(last_json(erased)["certificate"]))
    assert signal("subject", "--day", yesterday(), stdin=PERSON).stderr.startswith(
        f"0 event(s) on {yesterday()} with this hash"
    )
    actions = connection.execute(
        "select action, actor is not null from signal.audit order by id"
    ).fetchall()
    assert actions == [("subject", True), ("erase", True), ("subject", True)]


def test_an_entity_is_erased_by_its_id(signal: Signal, fill: Fill, connection: Connection) -> None:
    fill(yesterday(), 100)
    entity = str(uuid.UUID(int=3))
    done = signal("erase", "--entity", "journey", entity.upper(), "--json")
    assert done.returncode == 0, done.stderr
    assert connection.execute(
        "select count(*) from signal.events where entity_id = %s", [entity]
    ).fetchone() == (0,)
    assert entity not in (done.stdout + done.stderr).lower()


@pytest.mark.parametrize(
    ("erased", "kept"), [("dQw4w9WgXcQ", ["DQW4W9WGXCQ"]), ("DQW4W9WGXCQ", ["dQw4w9WgXcQ"])]
)
def test_an_erasure_takes_no_entity_whose_id_has_other_capitals(
    signal: Signal,
    settings: Settings,
    database: Database,
    connection: Connection,
    tmp_path: Path,
    erased: str,
    kept: list[str],
) -> None:
    wide = wide_catalogue(tmp_path)
    ingest_journeys(settings, database, wide, erased, *kept)
    done = signal("erase", "--entity", "journey", erased, SIGNAL_CATALOGUE=str(wide))
    assert done.returncode == 0, done.stderr
    left = connection.execute("select entity_id from signal.events").fetchall()
    assert left == [(each,) for each in kept]
    assert "in lower case" not in done.stderr


def test_an_erasure_names_what_earlier_versions_stored_in_lower_case(
    signal: Signal, settings: Settings, database: Database, connection: Connection, tmp_path: Path
) -> None:
    """They stored every id in lower case, so the same id can be in the database in two spellings."""
    former, entity = "dqw4w9wgxcq", "dQw4w9WgXcQ"
    wide = wide_catalogue(tmp_path)
    ingest_journeys(settings, database, wide, former, entity)
    there = partial(signal, "erase", "--entity", "journey", SIGNAL_CATALOGUE=str(wide))
    # Twice: the second erasure finds nothing by the id itself, and must still say so.
    for _ in range(2):
        done = there(entity, "--json")
        assert done.returncode == 0, done.stderr
        (note,) = [note for note in last_json(done)["notes"] if "in lower case" in note]  # type: ignore[attr-defined]
        assert f"note: {note}" in done.stderr
        assert former not in done.stderr.lower()
        left = connection.execute("select entity_id from signal.events").fetchall()
        assert left == [(former,)]
    done = there(former)
    assert "1 event(s)" in done.stderr
    assert "only in capitals under this id too" in done.stderr
    assert "in lower case" not in done.stderr
    assert "only in capitals" not in there(entity).stderr


@pytest.mark.parametrize(
    ("id_format", "noted"), [("vid-[A-Za-z0-9]{4}", True), ("[A-Z]{3}|vid-[a-z]{4}", False)]
)
def test_an_erasure_says_which_ids_can_have_shared_this_one(
    signal: Signal, tmp_path: Path, id_format: str, noted: bool
) -> None:
    wide = wide_catalogue(tmp_path, id_format)
    done = signal("erase", "--entity", "journey", "vid-abcd", SIGNAL_CATALOGUE=str(wide))
    assert ("only in capitals under this id too" in done.stderr) is noted


def test_an_entity_of_an_earlier_format_is_erased(
    signal: Signal, settings: Settings, database: Database, connection: Connection, tmp_path: Path
) -> None:
    """The catalogue's format was narrowed after its events were stored."""
    ingest_journeys(settings, database, wide_catalogue(tmp_path), "Old-1")
    done = signal("erase", "--entity", "journey", "Old-1", "--json")
    assert done.returncode == 0, done.stderr
    assert connection.execute("select count(*) from signal.events").fetchone() == (0,)
    assert "note: the id is not the id of a journey by today's catalogue" in done.stderr
    assert "old-1" not in (done.stdout + done.stderr).lower()
    known = signal("erase", "--entity", "journey", uuid.uuid4())
    assert "by today's catalogue" not in known.stderr


def test_an_erasure_waits_for_what_is_spooled(
    signal: Signal, fill: Fill, connection: Connection, tmp_path: Path
) -> None:
    """Events of the subject can wait in the spool.

    If they were stored after the erasure, they would be back.
    """
    fill(yesterday(), 100)
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


def _assert_interrupted(done: Done, connection: Connection) -> None:
    """The certificate holds the day before yesterday only, and so does the audit log."""
    certificate = last_json(done)
    assert certificate["interrupted"] is True
    assert [day["day"] for day in certificate["days"]] == [str(days_ago(2))]  # type: ignore[attr-defined]
    assert connection.execute(
        "select day, details ->> 'certificate' from signal.audit"
    ).fetchall() == [(days_ago(2), certificate["certificate"])]
    assert f"certificate {certificate['certificate']}" in done.stderr
    assert "run the same command again" in done.stderr
    assert "both certificates, which belong together" in done.stderr


def test_an_erasure_that_fails_on_its_second_day_still_certifies_the_first(
    signal: Signal, fill: Fill, connection: Connection
) -> None:
    for day in (days_ago(2), yesterday()):
        fill(day, 100)
    connection.execute(
        "create function public.fail() returns trigger language plpgsql as $$ begin"
        f" if new.day = '{yesterday()}' then raise 'the disk is full'; end if; return new; end $$;"
        " create trigger fail before insert on signal.audit for each row"
        " execute function public.fail()"
    )
    arguments = ("erase", "--entity", "journey", str(uuid.UUID(int=3)), "--json")
    done = signal(*arguments)
    assert done.returncode == 1
    _assert_interrupted(done, connection)
    assert done.stderr.splitlines()[-1] == "error: the disk is full"
    connection.execute("drop trigger fail on signal.audit; drop function public.fail()")
    second = last_json(signal(*arguments))
    assert second["interrupted"] is False
    assert [day["day"] for day in second["days"]] == [str(yesterday())]  # type: ignore[attr-defined]


def test_an_erasure_that_ctrl_c_ends_still_certifies_what_it_erased(
    environment: Settings, fill: Fill, connection: Connection, tmp_path: Path
) -> None:
    for day in (days_ago(2), yesterday()):
        fill(day, 100)
    with day_lock(connection, yesterday()):
        process = start_command(
            *("erase", "--entity", "journey", str(uuid.UUID(int=3)), "--json"), cwd=tmp_path
        )
        until(lambda: connection.execute("select from signal.audit").fetchone() is not None)
        process.send_signal(SIGINT)
        stdout, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    _assert_interrupted(Done([], 130, stdout, stderr), connection)


WRONG = {
    "nothing": [],
    "two subjects": ["--session", str(uuid.uuid4()), "--entity", "journey", str(uuid.uuid4())],
    "a hash without a day": ["--user-hash", "ab" * 32],
    "a day without a hash": ["--session", str(uuid.uuid4()), "--day", str(yesterday())],
    "no hash": ["--user-hash", "private-xyz", "--day", str(yesterday())],
    "no session": ["--session", "private-xyz"],
    "the nil session": ["--session", str(uuid.UUID(int=0))],
    "the max session": ["--session", "{FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF}"],
    "unknown type": ["--entity", "private", "x"],
    "an empty id": ["--entity", "journey", ""],
    "an id that is too long": ["--entity", "journey", "private" * 50],
    "an unprintable id": ["--entity", "journey", "private\u200b"],
    "the nil entity": ["--entity", "journey", str(uuid.UUID(int=0))],
    "no entity": ["--entity", "journey", "(none)"],
}


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
    done = signal("subject", "--day", yesterday(), stdin=stdin)
    assert done.returncode == 1
    assert "private" not in error_of(done)
