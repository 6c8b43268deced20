"""Names and entries of the landing that are no finished file: none is lost, or waits unseen."""

from __future__ import annotations

import gzip
import hashlib
import os
import socket
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from support.days import days_ago
from support.stored import stored_events
from support.traffic import line, traffic

from signal_pipeline.dagster.probes.stuck_landing import landing_moves
from signal_pipeline.ingest import landing as landing_module
from signal_pipeline.ingest.landing import (
    LandingError,
    landed_files,
    marks_of_landed,
)
from signal_pipeline.ingest.pipeline import Counts
from signal_pipeline.postgres.database import Connection
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only
DAY = days_ago(3)
GOOD = b"".join(text + b"\n" for text in traffic(DAY, 30))
SECRET = b"a secret of at least thirty-two bytes"
Put = Callable[..., Path]
Drain = Callable[[], Counts]
NAMES = [
    "a.ndjson",
    "d.NDJSON",
    "c.ndjson.gz",
    "e.jsonl",
    "f.part",
    "no suffix",
    "two\nlines",
    "[b]markup[i]<i>",
    "-",
    "~",
    "ä.ndjson",
    "tmp",
    "x.tmp.ndjson",
    os.fsdecode(b"\xff.ndjson"),
    "n" * 255,
]


def age(path: Path, days: float) -> None:
    """Make a file older."""
    at = time.time() - days * 86_400
    os.utime(path, (at, at), follow_symlinks=False)


def test_every_name_is_taken(put: Put, drain: Drain, landing: Path) -> None:
    for number, name in enumerate(NAMES):
        put(b"".join(text + b"\n" for text in traffic(DAY, 2, seed=number)), name)
    assert {path.name for path in landed_files(landing)} == set(NAMES)
    assert drain().accepted == 2 * len(NAMES)
    assert list(landing.iterdir()) == []


def test_a_kept_file_does_not_hold_up_others(
    put: Put, drain: Drain, connection: Connection
) -> None:
    kept = [put(b"[]", "0.json"), put(b"\x00" * 9, "2.ndjson")]
    put(GOOD, "1.ndjson"), put(gzip.compress(GOOD), "3.gz")
    with pytest.raises(
        LandingError, match=r"^2 file\(s\) are done, 2 item\(s\) in the landing cannot be taken"
    ) as error:
        drain()
    assert all(repr(path.name) in str(error.value) for path in kept)
    assert all(path.exists() for path in kept)
    assert len(stored_events(connection)) == 30
    kept[0].unlink()
    kept[1].write_bytes(GOOD + b"torn")
    assert drain().as_dict() == {
        "received": 31,
        "accepted": 0,
        "duplicate": 30,
        "dropped": {"malformed": 1},
    }


def test_what_is_no_file_waits_and_is_named(
    put: Put, drain: Drain, landing: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = put(GOOD)
    (landing / "folder.ndjson").mkdir()
    (landing / "folder.ndjson" / "b.ndjson").write_bytes(GOOD)
    (landing / "dangling").symlink_to("nowhere")
    (landing / "link.ndjson").symlink_to(landing.parent / "elsewhere")
    (landing.parent / "elsewhere").write_bytes(line())
    (landing.parent / "elsewhere").chmod(0o644)
    os.mkfifo(landing / "fifo.ndjson")
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        monkeypatch.chdir(landing)  # The path of a socket has at most 107 bytes.
        listener.bind("socket")
        expected = {"folder.ndjson", "dangling", "link.ndjson", "fifo.ndjson", "socket"}
        assert {path.name for path in landed_files(landing)} == {*expected, good.name}
        assert not landing_moves(settings).passed
        with pytest.raises(
            LandingError, match=r"^1 file\(s\) are done, 5 item\(s\) in the landing cannot be taken"
        ) as error:
            drain()
    assert {path.name for path in landed_files(landing)} == expected
    for text in (str(error.value), landing_moves(settings).message):
        assert all(f"'{name}' is" in text for name in expected)
    assert (landing.parent / "elsewhere").stat().st_mode & 0o777 == 0o644


def test_empty_folders_and_the_file_systems_own_hold_nothing(
    drain: Drain, landing: Path, settings: Settings
) -> None:
    (landing / "lost+found").mkdir()
    (landing / "folder").mkdir()
    (landing / ".keep").touch()
    age(landing / ".keep", 9)
    assert landed_files(landing) == []
    assert drain() == Counts()
    assert landing_moves(settings).passed


@pytest.mark.parametrize("name", [".a.ndjson", "a.tmp", "a.ndjson.TMP", ".a.ndjson.x2f9"])
def test_an_unfinished_file_is_left_alone_and_red_after_a_day(
    put: Put, drain: Drain, landing: Path, settings: Settings, name: str
) -> None:
    file = put(GOOD, name)
    assert landed_files(landing) == []
    assert drain() == Counts()
    assert file.exists()
    assert landing_moves(settings).passed
    age(file, 1.1)
    finding = landing_moves(settings)
    assert not finding.passed
    assert repr(file.name) in finding.message


def test_a_day_old_file_is_red_though_its_time_lies_ahead_or_many_wait(
    put: Put, settings: Settings
) -> None:
    for number in range(40):
        put(line(), f"{number}.ndjson")
    assert landing_moves(settings).passed
    age(settings.landing_path / "7.ndjson", 2)
    assert landing_moves(settings).figures == {"kept": 0, "older_than_a_day": 1}
    age(settings.landing_path / "7.ndjson", -2)
    assert landing_moves(settings).passed


def test_a_name_that_holds_personal_data_is_not_repeated(
    put: Put, drain: Drain, landing: Path, settings: Settings
) -> None:
    """The messages are stored and logged; the inode finds the item."""
    names = ["jane@example.org.json", "jane%40example.org", "host-198.51.100.77.log"]
    private = [put(b"[]", name) for name in names]
    (landing / "link jane@example.org").symlink_to("nowhere")
    old = put(GOOD, ".jane@example.org.tmp")
    age(old, 2)
    put(b"[]", "ordinary.json")
    with pytest.raises(LandingError) as error:
        drain()
    moves = landing_moves(settings).message
    for text in (str(error.value), moves):
        assert "jane" not in text and "198.51.100.77" not in text
        assert "'ordinary.json' looks like" in text
        for path in private:
            assert f"an item with a private name (inode {path.stat().st_ino} in `ls -i`, 2" in text
    assert f"(inode {old.stat().st_ino} in `ls -i`, {len(GOOD)} bytes)" in moves


def test_names_cannot_break_a_line_or_be_long(put: Put, drain: Drain, settings: Settings) -> None:
    names = ["a\nerror: b", "\x1b[31mred", "\u202egnp.a", os.fsdecode(b"\xfe\xff"), "n" * 255]
    for name in names:
        put(b"[]", name)
    with pytest.raises(LandingError) as error:
        drain()
    for text in (str(error.value), landing_moves(settings).message):
        assert text.isprintable()
        assert text.encode()
        assert "n" * 101 not in text


def test_many_kept_files_are_counted_and_some_named(
    put: Put, drain: Drain, settings: Settings
) -> None:
    for number in range(15):
        put(b"[]", f"{number:02}.json")
    with pytest.raises(
        LandingError,
        match=r"^0 file\(s\) are done, 15 item\(s\) in the landing .*'09\.json' [^;]*; and 5 more$",
    ):
        drain()
    assert landing_moves(settings).figures["kept"] == 15


def test_a_file_that_cannot_be_read_is_named(
    put: Put, drain: Drain, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = put(GOOD)

    def refuse(path: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(
        LandingError, match="'a.ndjson' cannot be read or removed: Permission denied"
    ):
        drain()
    assert "'a.ndjson' cannot be read: Permission denied" in landing_moves(settings).message
    assert file.exists()


def test_a_folder_that_cannot_be_read_is_an_error(
    landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(LandingError, match="cannot read the landing folder .*: Permission denied"):
        landed_files(landing)


def test_a_place_that_cannot_be_looked_into_is_not_taken_for_an_empty_landing(
    tmp_path: Path,
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert landed_files(tmp_path / "landing") == []
    with pytest.raises(LandingError, match="cannot read the landing folder"):
        landed_files(tmp_path / "loop" / "landing")


def test_a_finished_file_that_grows_before_its_removal_is_not_removed(
    put: Put, drain: Drain, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
        put(GOOD)
        with pytest.raises(RuntimeError, match="killed"):
            drain()
    file = put(GOOD)
    ingest_rest = landing_module._ingest_rest

    def grow(*arguments: object) -> None:
        ingest_rest(*arguments)  # type: ignore[arg-type]
        with file.open("ab") as stream:
            stream.write(line() + b"\n")

    with monkeypatch.context() as patch:
        patch.setattr(landing_module, "_ingest_rest", grow)
        with pytest.raises(LandingError, match="changed its size while it was read"):
            drain()
    assert drain().as_dict() == {"received": 31, "accepted": 1, "duplicate": 30, "dropped": {}}


def test_what_came_is_told_from_what_changed(put: Put, landing: Path) -> None:
    put(GOOD, ".unfinished.ndjson")
    assert marks_of_landed(landing, SECRET) == set()
    file = put(GOOD, "anna.ndjson")
    marks = marks_of_landed(landing, SECRET)
    assert len(marks) == 1
    with file.open("ab") as stream:
        stream.write(line() + b"\n")
    file.chmod(0o640)
    os.link(file, landing / ".link")
    age(file, 2)
    assert marks_of_landed(landing, SECRET) == marks
    assert "anna" not in str(marks)
    (landing / "other.ndjson").write_bytes(b"")
    assert marks_of_landed(landing, SECRET) > marks
    keep = file.rename(landing.parent / "keep")  # So that its inode is not given to the next.
    put(GOOD, "anna.ndjson")
    assert keep.exists()
    assert not marks & marks_of_landed(landing, SECRET)


def test_a_mark_needs_the_secret(put: Put, landing: Path) -> None:
    """Without the secret, nobody can try which name a mark was made from."""
    file = put(GOOD, "198.51.100.7.ndjson")
    (mark,) = marks_of_landed(landing, SECRET)
    (other,) = marks_of_landed(landing, SECRET[::-1])
    assert mark != other
    name = b"%d/%s" % (file.stat().st_ino, file.name.encode())
    for method in ("sha256", "sha1", "md5", "blake2b"):
        assert not hashlib.new(method, name).hexdigest().startswith(mark)


def test_the_error_carries_what_was_done_and_rights_are_changed_only_where_they_differ(
    put: Put, drain: Drain
) -> None:
    kept = put(b"[]", "0.json")
    kept.chmod(0o644)
    put(GOOD)
    with pytest.raises(LandingError) as error:
        drain()
    assert error.value.drained is not None
    assert (error.value.drained.files, error.value.drained.counts.accepted) == (1, 30)
    assert kept.stat().st_mode & 0o777 == 0o600
    changed = kept.stat().st_ctime_ns
    with pytest.raises(LandingError):
        drain()
    assert kept.stat().st_ctime_ns == changed
