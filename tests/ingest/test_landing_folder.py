"""Other things that come into the landing: other forms, other names, and non-files.

None of them is lost, or waits unseen.
"""

from __future__ import annotations

import gzip
import json
import os
import socket
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from conftest import SECRET
from support.file_forms import OTHER_FORMS
from support.stored import stored_books, stored_events
from support.traffic import line, traffic

from signal_pipeline.dagster.probes.stuck_landing import begun_sizes, landing_moves
from signal_pipeline.ingest import landing as landing_module
from signal_pipeline.ingest import ndjson
from signal_pipeline.ingest import pipeline as ingest_module
from signal_pipeline.ingest.landing import (
    LandingError,
    drain_landing,
    landed_files,
    marks_of_landed,
    prepare_landing,
    shown,
)
from signal_pipeline.ingest.ndjson import zstd
from signal_pipeline.ingest.pipeline import Counts, Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.query import query
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

DAY = date.today() - timedelta(days=3)
MARK = b"\xef\xbb\xbf"
GOOD = b"".join(text + b"\n" for text in traffic(DAY, 30))
Put = Callable[..., Path]
Drain = Callable[[], Counts]


@pytest.fixture
def landing(settings: Settings) -> Path:
    """The landing folder."""
    prepare_landing(settings.landing_path)
    return settings.landing_path


@pytest.fixture
def put(landing: Path) -> Put:
    """Moves finished content into the landing."""

    def move_in(content: bytes, name: str = "a.ndjson") -> Path:
        draft = landing / ".draft.tmp"
        draft.write_bytes(content)
        return draft.rename(landing / name)

    return move_in


@pytest.fixture
def drain(database: Database, settings: Settings, ingest: Ingest) -> Drain:
    """Drains the landing once."""
    return lambda: drain_landing(database, ingest, settings.landing_path, SECRET.encode()).counts


def age(path: Path, days: float) -> None:
    """Make a file older."""
    at = time.time() - days * 86_400
    os.utime(path, (at, at), follow_symlinks=False)


def books_and_files(connection: Connection) -> tuple[int, int]:
    """How many events are in the books, and how many landed files are recorded."""
    row = connection.execute("select count(*) from signal.landed_files").fetchone()
    assert row is not None
    return stored_books(connection).total(), int(str(row[0]))


FORMS = {
    "plain": GOOD,
    "marked": MARK + GOOD,
    "gzip": gzip.compress(MARK + GOOD),
    "gzip of several marked members": gzip.compress(MARK + GOOD[:0]) + gzip.compress(MARK + GOOD),
    "zstd": zstd.compress(GOOD),
    "zstd of several frames": zstd.compress(GOOD[:700]) + zstd.compress(GOOD[700:]),
    "CRLF, no last line end": GOOD.replace(b"\n", b"\r\n")[:-2],
}
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


@pytest.mark.parametrize("form", FORMS)
def test_every_accepted_form_is_ingested_and_removed(
    put: Put, drain: Drain, connection: Connection, form: str
) -> None:
    file = put(FORMS[form])
    counts = drain()
    assert (counts.received, counts.accepted) == (30, 30)
    assert not file.exists()
    assert len(stored_events(connection)) == 30


def test_every_name_is_taken(put: Put, drain: Drain, landing: Path) -> None:
    for number, name in enumerate(NAMES):
        put(b"".join(text + b"\n" for text in traffic(DAY, 2, seed=number)), name)
    assert {path.name for path in landed_files(landing)} == set(NAMES)
    assert drain().accepted == 2 * len(NAMES)
    assert list(landing.iterdir()) == []


def test_every_other_form_is_kept(
    put: Put, drain: Drain, connection: Connection, settings: Settings
) -> None:
    files = {put(data, f"{name}.ndjson"): data for name, (data, _) in OTHER_FORMS.items()}
    with pytest.raises(
        LandingError,
        match=rf"^{len(files)} item\(s\) in the landing cannot be taken, 0 file\(s\) are done",
    ):
        drain()
    assert {path: path.read_bytes() for path in landed_files(settings.landing_path)} == files
    assert books_and_files(connection) == (0, 0)


@pytest.mark.parametrize("name", ["array, an object a line", "UTF-16", "RFC 7464", "tar.gz", "CSV"])
def test_a_file_of_another_form_is_named_with_its_form_and_red_at_once(
    put: Put, drain: Drain, settings: Settings, name: str
) -> None:
    data, form = OTHER_FORMS[name]
    file = put(data)
    for _ in range(2):
        with pytest.raises(LandingError) as error:
            drain()
        assert f"'a.ndjson' looks like {form}, not like NDJSON" in str(error.value)
    assert landed_files(settings.landing_path) == [file]
    finding = landing_moves(settings)
    assert not finding.passed
    assert f"'a.ndjson' looks like {form}" in finding.message


def test_a_kept_file_does_not_hold_up_others(
    put: Put, drain: Drain, connection: Connection
) -> None:
    kept = [put(b"[]", "0.json"), put(b"\x00" * 9, "2.ndjson")]
    put(GOOD, "1.ndjson"), put(FORMS["gzip"], "3.gz")
    with pytest.raises(
        LandingError, match=r"^2 item\(s\) in the landing cannot be taken, 2 file\(s\) are done"
    ) as error:
        drain()
    assert all(shown(path) in str(error.value) for path in kept)
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


@pytest.mark.parametrize(
    "content",
    [b"", b"\n \r\n", MARK, MARK + b"\n", gzip.compress(b"", mtime=0), zstd.compress(MARK)],
    ids=["empty", "blank lines", "a mark", "a marked blank line", "empty gzip", "a mark in zstd"],
)
def test_a_file_with_nothing_in_it_is_removed(put: Put, drain: Drain, content: bytes) -> None:
    file = put(content)
    assert drain() == Counts()
    assert not file.exists()


def test_lines_of_another_schema_and_malformed_ones_are_counted(put: Put, drain: Drain) -> None:
    file = put(
        b'torn {\n"text"\n{"level": "info"}\n{"eventType": "no_such_type", "appName": "cms"}\n[1]\n'
    )
    assert drain().dropped == {"malformed": 3, "invalid_field": 2}
    assert not file.exists()


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
def test_a_file_that_is_cut_short_is_stored_as_far_as_it_goes_and_kept(
    put: Put,
    drain: Drain,
    connection: Connection,
    settings: Settings,
    pack: Callable[[bytes], bytes],
) -> None:
    lines = [text for seed in range(20) for text in traffic(DAY, 1_000, seed)]
    whole = pack(b"".join(text + b"\n" for text in lines))
    file = put(whole[: len(whole) // 2])
    for _ in range(2):  # The second time nothing is new, and nothing is counted again.
        with pytest.raises(
            LandingError, match=r"'a.ndjson' holds (gzip|zstd) data that is cut short"
        ):
            drain()
        stored = len(stored_events(connection))
        assert 1_000 < stored == stored_books(connection).total() < 20_000
    assert file.exists()
    assert "cut short" in landing_moves(settings, begun_sizes(connection)).message
    assert connection.execute(
        "select count(*) from signal.landed_files where done_at is null"
    ).fetchone() == (0,)
    put(whole)
    counts = drain()
    assert (counts.accepted, counts.duplicate) == (20_000 - stored, stored)
    assert landed_files(settings.landing_path) == []
    assert landing_moves(settings).passed


@pytest.mark.parametrize(
    "form", ["marked", "gzip of several marked members", "zstd of several frames"]
)
def test_a_failure_between_two_batches_of_any_form_changes_no_number(
    put: Put,
    drain: Drain,
    connection: Connection,
    ingest: Ingest,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
) -> None:
    monkeypatch.setattr(ingest_module, "BATCH_BYTES", 2_000)
    file, store, calls = put(FORMS[form]), ingest.store, []

    def fail_at_the_third(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("the machine went away")
        return store(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(ingest, "store", fail_at_the_third)
        with pytest.raises(RuntimeError, match="went away"):
            drain()
    before = stored_books(connection).total()
    assert 0 < before < 30
    assert drain().received == 30 - before
    assert len(stored_events(connection)) == stored_books(connection).total() == 30
    assert not file.exists()


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
            LandingError, match=r"^5 item\(s\) in the landing cannot be taken, 1 file\(s\) are done"
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
    assert shown(file) in finding.message


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
        LandingError, match=r"^15 item\(s\) in the landing .*'09\.json' [^;]*; and 5 more$"
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
        with pytest.raises(LandingError, match="grew while it was read"):
            drain()
    assert drain().as_dict() == {"received": 31, "accepted": 1, "duplicate": 30, "dropped": {}}


def test_what_came_is_told_from_what_changed(put: Put, landing: Path) -> None:
    put(GOOD, ".unfinished.ndjson")
    assert marks_of_landed(landing) == set()
    file = put(GOOD, "anna.ndjson")
    marks = marks_of_landed(landing)
    assert len(marks) == 1
    with file.open("ab") as stream:
        stream.write(line() + b"\n")
    file.chmod(0o640)
    os.link(file, landing / ".link")
    age(file, 2)
    assert marks_of_landed(landing) == marks
    assert "anna" not in str(marks)
    (landing / "other.ndjson").write_bytes(b"")
    assert marks_of_landed(landing) > marks
    keep = file.rename(landing.parent / "keep")  # So that its inode is not given to the next.
    put(GOOD, "anna.ndjson")
    assert keep.exists()
    assert not marks & marks_of_landed(landing)


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
def test_a_file_that_becomes_readable_goes_on_where_it_stopped(
    put: Put,
    drain: Drain,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
    pack: Callable[[bytes], bytes],
) -> None:
    lines = [text for seed in range(4) for text in traffic(DAY, 500, seed)]
    file = put(pack(b"".join(text + b"\n" for text in lines)))
    read = ndjson._Inflated.read

    def flaky(inflated: ndjson._Inflated, size: int) -> bytes:
        if inflated.fault:
            return b""
        data = read(inflated, size)
        if len(data) < ndjson.HEAD_BYTES or size > ndjson.HEAD_BYTES:
            data, inflated.fault = (
                data[: len(data) // 2],
                "holds data that is damaged, or cannot be decompressed here",
            )
        return data

    with monkeypatch.context() as patch:
        patch.setattr(ndjson._Inflated, "read", flaky)
        with pytest.raises(LandingError, match="cannot be decompressed here"):
            drain()
    stored = len(stored_events(connection))
    assert 0 < stored < len(lines)
    assert file.exists()
    assert drain().as_dict() == {
        "received": 2_000 - stored,
        "accepted": 2_000 - stored,
        "duplicate": 0,
        "dropped": {},
    }
    assert not file.exists()


def test_the_retention_does_not_forget_a_file_that_is_kept(
    put: Put, drain: Drain, connection: Connection
) -> None:
    put(gzip.compress(b"".join(text + b"\n" for text in traffic(DAY, 3_000)))[:-1])
    with pytest.raises(LandingError, match="cut short"):
        drain()
    before = stored_books(connection)
    connection.execute("update signal.landed_files set done_at = now() - interval '999 days'")
    with pytest.raises(LandingError, match="cut short"):
        drain()
    connection.execute(
        query("signal_pipeline.privacy", "forget_landed_files"),
        [datetime.now(UTC) - timedelta(days=180)],
    )
    with pytest.raises(LandingError, match="cut short"):
        drain()
    assert stored_books(connection) == before


def test_of_another_form_only_the_beginning_is_read(
    put: Put, drain: Drain, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = put(b"a,b,c\n" * 2_000_000)
    monkeypatch.setattr(ndjson, "LOOK_AHEAD_BYTES", 1 << 20)
    monkeypatch.setattr(
        landing_module, "_content_hmac", lambda *_: pytest.fail("the whole file is read")
    )
    taken = []
    read = ndjson._Peeked.read

    def count(peeked: ndjson._Peeked, size: int) -> bytes:
        data = read(peeked, size)
        taken.append(len(data))
        return data

    monkeypatch.setattr(ndjson._Peeked, "read", count)
    with pytest.raises(LandingError, match="looks like CSV"):
        drain()
    assert "looks like CSV" in landing_moves(settings, {file.stat().st_size}).message
    assert 0 < sum(taken) <= 2 * (3 << 20)


def test_the_check_decompresses_to_the_end_only_what_a_drain_has_begun(
    put: Put, settings: Settings
) -> None:
    file = put(gzip.compress(b"".join(text + b"\n" for text in traffic(DAY, 9_000)))[:-1])
    assert landing_moves(settings).passed
    assert "cut short" in landing_moves(settings, {file.stat().st_size}).message


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


def test_one_bad_line_in_the_way_is_json_all_the_same(put: Put, drain: Drain) -> None:
    put(json.dumps({"eventType": "x" * 300_000}).encode() + b"\n" + GOOD)
    assert drain().as_dict() == {
        "received": 31,
        "accepted": 30,
        "duplicate": 0,
        "dropped": {"malformed": 1},
    }
