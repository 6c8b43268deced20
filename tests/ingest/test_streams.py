"""Whole streams: their batches, marks and compressed forms, and what is wrong with them."""

from __future__ import annotations

import errno
import gzip
import io
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from support.days import days_ago
from support.stored import stored_books, stored_events
from support.traffic import line, traffic

from signal_pipeline.errors import SignalError
from signal_pipeline.ingest import pipeline as ingest_module
from signal_pipeline.ingest.compressed import zstd
from signal_pipeline.ingest.ndjson import FormError
from signal_pipeline.ingest.pipeline import Counts, CutShortError, Ingest
from signal_pipeline.postgres.database import Connection

DAY = days_ago(3)
NOON = datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC)


def ingest_noting(ingest: Ingest, data: bytes) -> tuple[Counts, list[int], list[int]]:
    """Ingest a stream; gives also the bytes of each step, and the offset of each commit."""
    progress: list[int] = []
    offsets: list[int] = []
    counts = ingest.ingest_stream(
        io.BytesIO(data),
        progress=progress.append,
        committed=lambda _, offset: offsets.append(offset),
    )
    return counts, progress, offsets


def test_a_stream_commits_batch_by_batch(
    ingest: Ingest, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_module, "BATCH_BYTES", 9_000)
    data = b"\n".join(traffic(DAY, 150))
    counts, progress, offsets = ingest_noting(ingest, data)
    assert counts.accepted == 150
    assert offsets == sorted(offsets)
    assert offsets[-1] == sum(progress) == len(data)
    assert len(offsets) == len(progress) > 3


@pytest.mark.embedded_only
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd.compress])
def test_a_marked_or_compressed_stream_is_ingested_whole(
    ingest: Ingest,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
    pack: Callable[[bytes], bytes],
) -> None:
    monkeypatch.setattr(ingest_module, "BATCH_BYTES", 9_000)
    content = b"\xef\xbb\xbf" + b"\n".join(traffic(DAY, 150))
    data = pack(content)
    counts, progress, offsets = ingest_noting(ingest, data)
    assert (counts.received, counts.accepted) == (150, 150)
    assert offsets[-1] == len(content)
    assert sum(progress) == len(data)
    rest = ingest.ingest_stream(io.BytesIO(data), start=offsets[1])
    assert (rest.accepted, rest.duplicate) == (0, rest.received)
    assert 0 < rest.received < 150


@pytest.mark.embedded_only
def test_another_form_is_refused_before_anything_is_stored(
    ingest: Ingest, connection: Connection
) -> None:
    data = b"[\n" + b",\n".join(traffic(DAY, 20)) + b"\n]\n"
    with pytest.raises(FormError, match="looks like a JSON array") as error:
        ingest.ingest_stream(io.BytesIO(data))
    assert isinstance(error.value, SignalError)
    assert stored_books(connection) == {}


@pytest.mark.embedded_only
def test_of_compressed_data_that_is_cut_short_what_can_be_read_is_stored_and_counted(
    ingest: Ingest, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_module, "BATCH_BYTES", 9_000)
    data = gzip.compress(b"".join(text + b"\n" for text in traffic(DAY, 150)))
    counts = Counts()
    with pytest.raises(
        CutShortError, match="holds gzip data that is cut short: what could be read of it is stored"
    ):
        ingest.ingest_stream(io.BytesIO(data[:-3_000]), counts=counts)
    assert 0 < counts.accepted == counts.received < 150
    assert len(stored_events(connection)) == counts.accepted
    assert ingest.ingest_stream(io.BytesIO(data)).duplicate == counts.accepted
    assert len(stored_events(connection)) == 150


class FailingDisk(io.BytesIO):
    """A stream that cannot be read beyond some byte."""

    def __init__(self, data: bytes, bad: int) -> None:
        super().__init__(data)
        self._bad = bad

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() >= self._bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        left = self._bad - self.tell()
        return super().read(left if size is None or size < 0 else min(size, left))


@pytest.mark.embedded_only
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd.compress])
def test_what_was_read_before_an_error_of_the_disk_is_stored_and_counted(
    ingest: Ingest,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
    pack: Callable[[bytes], bytes],
) -> None:
    monkeypatch.setattr(ingest_module, "BATCH_BYTES", 9_000)
    # More than the beginning of a file that is read in advance.
    data = pack(b"".join(text + b"\n" for text in traffic(DAY, 8_000)))
    counts = Counts()
    with pytest.raises(
        CutShortError,
        match=r"^cannot be read to its end \(Input/output error\): what could be read",
    ):
        ingest.ingest_stream(FailingDisk(data, 100_000), counts=counts)
    assert 0 < counts.received < 8_000
    assert "malformed" not in counts.as_dict()["dropped"]  # Not even the line at the error.
    assert len(stored_events(connection)) == counts.accepted
    assert ingest.ingest_stream(io.BytesIO(data)).duplicate == counts.accepted


@pytest.mark.embedded_only
@pytest.mark.parametrize(
    ("before", "number"),
    [([], None), ([b"torn {"], 152), ([b"", b"  "], None), ([b"", b"torn {", b"x"], 153)],
)
def test_the_first_malformed_line_is_known_by_its_number(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch, before: list[bytes], number: int | None
) -> None:
    monkeypatch.setattr(ingest_module, "BATCH_BYTES", 9_000)
    lines = [b"", *traffic(DAY, 150), *before, *traffic(DAY, 150, seed=2), b"}" if number else b""]
    assert ingest.ingest_stream(io.BytesIO(b"\n".join(lines))).first_malformed == number
    noise = [b"", b"", b"torn {" if number else b"", *lines]
    assert ingest.ingest_stream(io.BytesIO(b"\n".join(noise))).first_malformed == (
        3 if number else None
    )


@pytest.mark.embedded_only
def test_the_drops_of_all_batches_are_logged_together_at_the_end(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ingest_module, "BATCH_BYTES", 9_000)
    caplog.set_level(logging.INFO, "signal_pipeline")
    lines = [line(NOON, eventType=f"type_{n % 2}") for n in range(150)]
    logged: list[int] = []
    ingest.ingest_stream(
        io.BytesIO(b"\n".join(lines)), progress=lambda _: logged.append(len(caplog.records))
    )
    assert len(logged) > 3
    assert not any(logged)
    assert sorted(caplog.messages) == [
        "dropped 75 event(s) of type_0: unknown_event_type",
        "dropped 75 event(s) of type_1: unknown_event_type",
    ]


@pytest.mark.embedded_only
def test_the_log_of_very_many_kinds_of_drops_is_bounded_and_keeps_every_drop(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file can state another unknown type in each line; what waits for the log stays small."""
    monkeypatch.setattr(ingest_module, "BATCH_BYTES", 9_000)
    monkeypatch.setattr(ingest_module, "MOST_DROP_KINDS", 50)
    lines = [line(NOON, eventType=f"type_{n}") for n in range(300)]
    ingest.ingest_stream(io.BytesIO(b"\n".join(lines)))
    more = [int(text.split()[1]) for text in caplog.messages if text.startswith("and ")]
    named = [text for text in caplog.messages if text.startswith("dropped 1 event(s) of type_")]
    assert len(more) > 3
    assert len(named) + sum(more) == 300


@pytest.mark.embedded_only
def test_the_drops_before_an_error_are_logged(
    ingest: Ingest, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [line(NOON, eventType="no_such_type") for _ in range(8_000)]
    counts = Counts()
    with pytest.raises(CutShortError):
        ingest.ingest_stream(FailingDisk(b"\n".join(lines), 100_000), counts=counts)
    assert 0 < counts.received == sum(stored_books(connection).values()) < 8_000
    assert caplog.messages == [
        f"dropped {counts.received} event(s) of no_such_type: unknown_event_type"
    ]


@pytest.mark.embedded_only
def test_lines_in_memory_may_be_marked_too(ingest: Ingest) -> None:
    assert ingest.ingest_lines(
        [b"\xef\xbb\xbf" + line(NOON), line(NOON), b"\xef\xbb\xbf"]
    ).as_dict() == {
        "received": 2,
        "accepted": 2,
        "duplicate": 0,
        "dropped": {},
    }
