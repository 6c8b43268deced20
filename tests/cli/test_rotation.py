"""The kill switch, as an operator pulls it: `rotate-secret`."""

from __future__ import annotations

import os
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from conftest import SECRET
from support.commands import Done, Signal, error_of, last_json
from support.data_subject import PERSON, person
from support.days import today, yesterday

from signal_pipeline.events.hashing import key_id
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.privacy.rotation import check_rotation
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only
OTHER_SECRET = "another-secret-for-tests-of-more-than-32-bytes"


def words_of(done: Done) -> str:
    """What a command said, without its line breaks."""
    return " ".join(done.stderr.split())


def test_rotation_is_explained_and_mixed_days_are_named(signal: Signal, ingest: Ingest) -> None:
    ingest.ingest_lines(person())
    before = last_json(signal("rotate-secret", "--json"))
    assert before["mixed_days"] == []
    unused = signal("rotate-secret", SIGNALS_SALT_SECRET=OTHER_SECRET)
    assert "no event has come under the present one yet, or a process" in words_of(unused)
    signal("ingest", "-", stdin=b"\n".join(person()), SIGNALS_SALT_SECRET=OTHER_SECRET)
    after = signal("rotate-secret", "--json", SIGNALS_SALT_SECRET=OTHER_SECRET)
    assert "kill switch" in after.stderr
    assert "the secret changed during that day, or a process that ingests" in words_of(after)
    assert last_json(after)["mixed_days"] == [str(yesterday())]
    assert last_json(after)["key_id"] != before["key_id"]
    for secret in (SECRET, OTHER_SECRET):
        assert secret not in after.stdout + after.stderr
    lost = signal("subject", "--day", yesterday(), stdin=PERSON, SIGNALS_SALT_SECRET=OTHER_SECRET)
    assert "another secret hashed events of this day too" in lost.stderr
    erased = signal("erase", "--user-hash", lost.stdout.strip(), "--day", yesterday(), "--dry-run")
    assert (
        f"2 secrets hashed {yesterday()}: the same person has another hash under each"
        in erased.stderr
    )
    third = signal(
        "subject", "--day", yesterday(), stdin=PERSON, SIGNALS_SALT_SECRET=f"third-{OTHER_SECRET}"
    )
    assert (
        "hashed by another secret alone: whether it holds this person cannot be told"
        in third.stderr
    )


@pytest.mark.parametrize(("ahead", "warns"), [(-1, False), (0, True), (1, True)])
def test_a_rotation_would_mix_today_if_today_has_events(
    settings: Settings, database: Database, connection: Connection, ahead: int, warns: bool
) -> None:
    """Events up to five minutes ahead are taken, so the newest can be of tomorrow."""
    last = today() + timedelta(days=ahead)
    connection.execute(
        "insert into signal.days (day) select generate_series(%s::date, %s::date, '1 day')::date",
        [yesterday(), last],
    )
    present = key_id(SECRET.encode())
    connection.execute(
        "insert into signal.day_keys (day, key_id) select day, %s from signal.days", [present]
    )
    assert check_rotation(settings, database).used_today is warns


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


def test_a_begun_file_that_is_gone_for_good_can_be_forgotten(
    signal: Signal, settings: Settings, connection: Connection
) -> None:
    connection.execute("insert into signal.landed_files (content_hmac, bytes) values ('x', 1)")
    assert "run `rotate-secret --forget-begun`" in error_of(signal("rotate-secret"))
    settings.landing_path.mkdir()
    waiting = settings.landing_path / "a.ndjson"
    waiting.write_bytes(b"")
    refused = signal("rotate-secret", "--forget-begun")
    assert "files wait in the landing" in error_of(refused)
    waiting.unlink()
    done = signal("rotate-secret", "--forget-begun")
    assert (done.returncode, "forgot 1 begun file(s)" in done.stderr) == (0, True)
    assert signal("rotate-secret").returncode == 0


@pytest.mark.parametrize("secret", ["tooshort!", "x" * 31])
def test_a_weak_secret_is_refused_without_showing_it(signal: Signal, secret: str) -> None:
    for command in (["rotate-secret"], ["subject", "--day", yesterday()], ["ingest", "-"]):
        done = signal(*command, stdin=PERSON, SIGNALS_SALT_SECRET=secret)
        assert done.returncode == 1
        assert "fewer than 32 bytes" in error_of(done)
        assert secret not in done.stdout + done.stderr
