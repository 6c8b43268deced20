"""Forms of files in the landing: which are taken, and what becomes of the others."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest
from support.days import days_ago
from support.file_forms import OTHER_FORMS
from support.stored import stored_books, stored_events
from support.traffic import traffic

from signal_pipeline.dagster.probes import stuck_landing
from signal_pipeline.dagster.probes.stuck_landing import begun_sizes, landing_moves
from signal_pipeline.ingest import compressed, ndjson
from signal_pipeline.ingest import landing as landing_module
from signal_pipeline.ingest import pipeline as ingest_module
from signal_pipeline.ingest.compressed import zstd
from signal_pipeline.ingest.landing import (
    LandingError,
    landed_files,
)
from signal_pipeline.ingest.pipeline import Counts, Ingest
from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.query import query
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only
DAY = days_ago(3)
MARK = b"\xef\xbb\xbf"
GOOD = b"".join(text + b"\n" for text in traffic(DAY, 30))
Put = Callable[..., Path]
Drain = Callable[[], Counts]
FORMS = {
    "plain": GOOD,
    "marked": MARK + GOOD,
    "gzip": gzip.compress(MARK + GOOD),
    "gzip of several marked members": gzip.compress(MARK + GOOD[:0]) + gzip.compress(MARK + GOOD),
    "zstd": zstd.compress(GOOD),
    "zstd of several frames": zstd.compress(GOOD[:700]) + zstd.compress(GOOD[700:]),
    "CRLF, no last line end": GOOD.replace(b"\n", b"\r\n")[:-2],
}


def books_and_files(connection: Connection) -> tuple[int, int]:
    """How many events are in the books, and how many landed files are recorded."""
    row = connection.execute("select count(*) from signal.landed_files").fetchone()
    assert row is not None
    return stored_books(connection).total(), int(str(row[0]))


@pytest.mark.parametrize("form", FORMS)
def test_every_accepted_form_is_ingested_and_removed(
    put: Put, drain: Drain, connection: Connection, form: str
) -> None:
    file = put(FORMS[form])
    counts = drain()
    assert (counts.received, counts.accepted) == (30, 30)
    assert not file.exists()
    assert len(stored_events(connection)) == 30


def test_every_other_form_is_kept(
    put: Put, drain: Drain, connection: Connection, settings: Settings
) -> None:
    files = {put(data, f"{name}.ndjson"): data for name, (data, _) in OTHER_FORMS.items()}
    with pytest.raises(
        LandingError,
        match=rf"^0 file\(s\) are done, {len(files)} item\(s\) in the landing cannot be taken",
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


@pytest.mark.parametrize(("hours", "passed"), [(0.9, True), (2, False), (-23, True), (-25, False)])
def test_a_file_that_waits_since_long_ago_or_since_a_time_ahead_is_red(
    put: Put, settings: Settings, monkeypatch: pytest.MonkeyPatch, hours: float, passed: bool
) -> None:
    """A clock that was ahead left the time there."""
    put(GOOD)
    now = time.time() - hours * 3_600
    monkeypatch.setattr(stuck_landing, "time", Mock(time=lambda: now))
    assert landing_moves(settings).passed == passed


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
    read = compressed.DecompressedStream.read

    def flaky(inflated: compressed.DecompressedStream, size: int) -> bytes:
        if inflated.fault:
            return b""
        data = read(inflated, size)
        if len(data) < compressed.HEAD_BYTES or size > compressed.HEAD_BYTES:
            data, inflated.fault = (
                data[: len(data) // 2],
                "holds data that is damaged, or cannot be decompressed here",
            )
        return data

    with monkeypatch.context() as patch:
        patch.setattr(compressed.DecompressedStream, "read", flaky)
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
    read = compressed.PeekedStream.read

    def count(peeked: compressed.PeekedStream, size: int) -> bytes:
        data = read(peeked, size)
        taken.append(len(data))
        return data

    monkeypatch.setattr(compressed.PeekedStream, "read", count)
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


def test_one_bad_line_in_the_way_is_json_all_the_same(put: Put, drain: Drain) -> None:
    put(json.dumps({"eventType": "x" * 300_000}).encode() + b"\n" + GOOD)
    assert drain().as_dict() == {
        "received": 31,
        "accepted": 30,
        "duplicate": 0,
        "dropped": {"malformed": 1},
    }


def test_a_part_of_an_indented_array_proves_no_ndjson(put: Put, drain: Drain) -> None:
    """The first object of the array is longer than the beginning that is read in advance."""
    events = [json.loads(text) for text in traffic(DAY, 6)]
    for event in events:
        event["description"] = {"x": [{}]}
    events[0]["description"] = {"x": [{"n": n} for n in range(8_000)]}
    pretty = json.dumps(events, indent=2).encode()
    file = put(pretty)
    with pytest.raises(LandingError, match="looks like a JSON array"):
        drain()
    file.unlink()
    put(b"# export\n" + json.dumps(events[1:], indent=2).encode())
    with pytest.raises(LandingError, match="looks like"):
        drain()


def test_indented_events_are_events_all_the_same(put: Put, drain: Drain) -> None:
    put(b"no event {\n" + b"".join(b"  " + text + b"\n" for text in traffic(DAY, 6)))
    assert (drain().accepted, drain().received) == (6, 0)


@pytest.mark.parametrize("events", [1, 2, 3])
def test_an_array_with_few_objects_a_line_is_kept(put: Put, drain: Drain, events: int) -> None:
    for start in (b"[", b"[\n  "):
        file = put(start + b",\n  ".join(traffic(DAY, events)) + b"\n]\n")
        with pytest.raises(LandingError, match="JSON array"):
            drain()
        file.unlink()
