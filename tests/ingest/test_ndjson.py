"""Reading NDJSON gives the same lines however a stream is marked, compressed or cut.

Other forms are named and never read.
"""

from __future__ import annotations

import gzip
import io
import tracemalloc
from collections.abc import Callable
from typing import BinaryIO, cast

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.file_forms import MARK, NDJSON, OBJECTS, OTHER_FORMS
from support.traffic import line

from signal_pipeline.events.acceptance import MAX_LINE_BYTES
from signal_pipeline.ingest import ndjson
from signal_pipeline.ingest.compressed import zstd
from signal_pipeline.ingest.ndjson import (
    Block,
    FormError,
    NdjsonReader,
    StreamError,
    check_form,
    is_object,
)

SKIPPED_FRAME = b"\x53\x2a\x4d\x18\x04\x00\x00\x00note"

Packing = Callable[[bytes], bytes]
PACKINGS: dict[str, Packing] = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "gzip of several members": lambda data: (
        gzip.compress(data[:50]) + gzip.compress(b"") + gzip.compress(data[50:])
    ),
    "gzip with padding": lambda data: gzip.compress(data) + bytes(512),
    "zstd": zstd.compress,
    "zstd of several frames": lambda data: (
        zstd.compress(data[:50]) + SKIPPED_FRAME + zstd.compress(data[50:])
    ),
    "zstd behind a frame to skip": lambda data: SKIPPED_FRAME + zstd.compress(data),
}


class Trickle(io.RawIOBase):
    """A stream that gives few bytes at a time and cannot seek, as a pipe can be."""

    def __init__(self, data: bytes) -> None:
        self._rest = data
        self.ends = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data, self._rest = self._rest[: min(size, 7)], self._rest[min(size, 7) :]
        self.ends += not data
        return data


def blocks(data: bytes, size: int = 1 << 20, start: int = 0) -> list[Block]:
    return list(NdjsonReader(io.BytesIO(data), size, start))


def filled(found: list[Block]) -> list[bytes]:
    """The lines that are not empty."""
    return [text for block in found for text in block.lines if text.strip()]


def form_of(data: bytes) -> str:
    """The form that the error names for a stream of another form."""
    with pytest.raises(FormError, match=r"^looks like .*, not like NDJSON") as error:
        blocks(data)
    return str(error.value).removeprefix("looks like ").partition(", not like")[0]


PARTS = [
    b"\n",
    b"\r\n",
    b"a",
    b"bc" * 9,
    b"d" * 40,
    b"\x00\xff",
    b" ",
    b'{"a":1}',
    MARK,
    b",",
    b"\r",
]


@given(
    parts=st.lists(st.sampled_from(PARTS), max_size=40),
    marked=st.booleans(),
    packing=st.sampled_from(sorted(PACKINGS)),
    size=st.integers(1, 60),
    most=st.integers(1, 6),
)
def test_any_split_gives_the_same_lines_and_offsets_to_go_on_from(
    parts: list[bytes], marked: bool, packing: str, size: int, most: int
) -> None:
    content = MARK * marked + b'{"first": 1}\n' + b"".join(parts)
    data = PACKINGS[packing](content)
    expected = [text for part in content.split(b"\n") if (text := _unmarked(part)).strip()]
    # Objects between commas are those of an array, which is another form and refused.
    assume(not any(b'{"a":1},' in text or b',{"a":1}' in text for text in expected))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ndjson, "MOST_LINES", most)
        found = blocks(data, size)
        assert filled(found) == expected
        ends = [block.end_offset for block in found]
        assert ends == sorted(set(ends))
        assert ends[-1] == len(content)
        assert all(end == len(content) or content[end - 1 : end] == b"\n" for end in ends)
        assert max(len(block.lines) for block in found) <= most
        assert sum(block.bytes for block in found) <= len(data)
        for number, end in enumerate(ends):
            assert filled(blocks(data, size, start=end)) == filled(found[number + 1 :])
        assert [
            number for block in found for number, _ in enumerate(block.lines, block.first_line)
        ] == list(range(1, 1 + sum(len(block.lines) for block in found)))


def _unmarked(text: bytes) -> bytes:
    while text.startswith(MARK):
        text = text[len(MARK) :]
    return text


@pytest.mark.parametrize("packing", sorted(PACKINGS))
@pytest.mark.parametrize("prefix", [b"", MARK])
def test_a_stream_that_trickles_and_cannot_seek_is_read_whole(packing: str, prefix: bytes) -> None:
    stream = Trickle(PACKINGS[packing](prefix + NDJSON))
    assert filled(list(NdjsonReader(cast(BinaryIO, stream), 1_000))) == OBJECTS


@pytest.mark.parametrize("packing", sorted(PACKINGS))
def test_every_byte_of_a_stream_is_told_once(packing: str) -> None:
    data = PACKINGS[packing](NDJSON)
    assert sum(block.bytes for block in blocks(data, 3_000)) == len(data)


@pytest.mark.parametrize("packing", sorted(PACKINGS))
@pytest.mark.parametrize(
    "content", [b"", MARK, b"\n", b" \t\r\n\n", MARK + b"\r\n", MARK * 2 + b" "]
)
def test_nothing_is_no_other_form(packing: str, content: bytes) -> None:
    assert filled(blocks(PACKINGS[packing](content))) == []


@pytest.mark.parametrize(
    "content",
    [
        NDJSON[:-1],
        NDJSON.replace(b"\n", b"\r\n"),
        NDJSON.replace(b"\n", b"\r\n")[:-2],
        OBJECTS[0] + b"\r",
        b"no line of it\n" + NDJSON,
        b"\n" * 100_000 + NDJSON,
        b"null\n[1]\n\n" + NDJSON,
        OBJECTS[0],
        b'{"of": "another schema"}\n',
        b"{}",
    ],
)
def test_lines_may_end_in_crlf_and_the_last_in_nothing(content: bytes) -> None:
    read = [text.rstrip(b"\r") for text in filled(blocks(content)) if is_object(text)]
    assert read == [text.rstrip(b"\r") for text in content.split(b"\n") if text.startswith(b"{")]


@pytest.mark.parametrize("name", OTHER_FORMS)
def test_another_form_is_told_and_nothing_is_read(name: str) -> None:
    data, form = OTHER_FORMS[name]
    assert form_of(data) == form


@given(st.binary(max_size=300), st.sampled_from(sorted(PACKINGS)))
def test_whatever_comes_is_read_or_refused(noise: bytes, packing: str) -> None:
    try:
        found = filled(blocks(PACKINGS[packing](noise)))
    except FormError:
        found = []
    assert not found or any(map(is_object, found))


def test_no_text_of_a_stream_is_in_the_error() -> None:
    for data in (
        b"secret-mark 198.51.100.7",
        b'"secret-mark"',
        b"[secret-mark]",
        b"{secret-mark}",
        b"<secret-mark>",
    ):
        assert "secret" not in form_of(data * 3)


@pytest.fixture(scope="module")
def long_lines() -> list[bytes]:
    """Lines with random ids, so that they stay long when compressed."""
    return [line() for _ in range(30_000)]


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
def test_of_data_that_is_cut_short_whole_lines_alone_are_read(
    packing: str, long_lines: list[bytes]
) -> None:
    data = PACKINGS[packing](b"".join(text + b"\n" for text in long_lines))
    for kept in (4, 11, 30, len(data) // 2, len(data) - 1):
        reader = NdjsonReader(io.BytesIO(data[:kept]), 100_000)
        found = filled(list(reader))
        assert reader.fault == f"holds {packing} data that is cut short"
        assert found == long_lines[: len(found)]
        assert len(found) > 29_000 * kept // len(data) - 5_000  # zstd is read by frames and blocks.


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
def test_of_damaged_data_what_comes_before_is_read(packing: str, long_lines: list[bytes]) -> None:
    content = b"".join(text + b"\n" for text in long_lines)
    checked = {
        zstd.CompressionParameter.checksum_flag: 1
    }  # Without it, zstd takes some damage for data.
    member = (
        zstd.compress(content, options=checked) if packing == "zstd" else gzip.compress(content)
    )
    half = len(member) // 2
    appended, torn = member + b"appended later", member[:half] + bytes(200) + member[half + 200 :]
    for data, least in ((appended, 30_000), (torn, 5_000)):
        reader = NdjsonReader(io.BytesIO(data), 1 << 20)
        found = filled(list(reader))
        assert (reader.fault or "").startswith(f"holds {packing} data that is damaged")
        assert len(found) >= least
        assert found[:least] == long_lines[:least]


def test_a_wrong_checksum_is_damage() -> None:
    data = bytearray(gzip.compress(NDJSON))
    data[-6] ^= 1
    reader = NdjsonReader(io.BytesIO(bytes(data)), 1 << 20)
    assert filled(list(reader)) == OBJECTS
    assert (reader.fault or "").startswith("holds gzip data that is damaged")


def test_the_form_is_checked_from_the_start_and_compressed_data_to_its_end_on_demand() -> None:
    lines = b"".join(line() + b"\n" for _ in range(9_000))
    cut = io.BytesIO(gzip.compress(lines)[:-1])
    check_form(cut)
    assert cut.tell() == 0
    with pytest.raises(StreamError, match="cut short"):
        check_form(cut, to_the_end=True)
    with pytest.raises(FormError, match="a JSON array"):
        check_form(io.BytesIO(b"[{}]"))


def test_a_bad_start_of_any_length_takes_no_memory_and_loses_no_number() -> None:
    """Sixty megabytes of lines without an object, and then one object.

    The file itself has only some kilobytes.
    """
    bad = (b"no object" * 100 + b"\n") * 2_000
    data = gzip.compress(bad, 1) * 33 + gzip.compress(b'{"eventType": "a"}')
    tracemalloc.start()
    try:
        counted = [
            (len(block.lines), block.first_line)
            for block in NdjsonReader(io.BytesIO(data), 1 << 20)
        ]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(lines for lines, _ in counted) == counted[-1][1] + counted[-1][0] - 1 == 66_001
    assert peak < 20_000_000


@pytest.mark.parametrize("packing", ["plain", "gzip", "zstd"])
@pytest.mark.parametrize(
    ("start", "form"),
    [(b"a,b\n", "CSV"), (b"a,b,", "CSV"), (b" \n", "text behind many blank lines")],
)
def test_an_object_is_looked_for_in_the_beginning_only(
    monkeypatch: pytest.MonkeyPatch, packing: str, start: bytes, form: str
) -> None:
    monkeypatch.setattr(ndjson, "LOOK_AHEAD_BYTES", 200_000)
    near, far = start * (100_000 // len(start)), start * (2_000_000 // len(start))
    assert filled(blocks(PACKINGS[packing](near + b"\n" + OBJECTS[0]), 50_000))[-1] == OBJECTS[0]
    with pytest.raises(FormError, match=form):
        blocks(PACKINGS[packing](far + b"\n" + OBJECTS[0]), 50_000)
    whole = OBJECTS[0] + b"\n" + far + b"\n" + OBJECTS[0]  # After an object nothing is looked for.
    assert filled(blocks(PACKINGS[packing](whole), 50_000))[-1] == OBJECTS[0]


def test_marks_without_end_are_no_content() -> None:
    marks = MARK * 500_000
    content = marks + b"\n" + (MARK + b'{"a": 1}\n') * 9 + marks + b"\n" + b'{"b": 2}' + MARK
    assert filled(blocks(content, 1 << 23)) == [b'{"a": 1}'] * 9 + [b'{"b": 2}' + MARK]
    assert filled(blocks(MARK * 1_000)) == []


def test_the_end_of_a_stream_is_asked_for_once_more_only() -> None:
    """A terminal would ask its user to end the input again."""
    for packing in PACKINGS.values():
        stream = Trickle(packing(NDJSON))
        list(NdjsonReader(cast(BinaryIO, stream), 1_000))
        assert stream.ends == 1


def test_a_long_line_is_kept_in_part_only() -> None:
    data = b'{"a": 1}\n' + b"x" * 20_000_000 + b'\n{"b": 2}'
    for packing in ("plain", "gzip", "zstd"):
        lengths = [len(text) for text in filled(blocks(PACKINGS[packing](data)))]
        assert (lengths[0], lengths[-1]) == (8, 8)
        (longest,) = [length for length in lengths if length > 8]
        assert MAX_LINE_BYTES < longest < 10_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"{}", True),
        (b' {"a": [1, {"b": null}]} \r', True),
        (
            b'{"eventType": "a", "appName": "b", "unknown": "\xff"}',
            True,
        ),  # Acceptance skips fields that it does not know.
        (b'{"eventType": "a", "appName": "b", "description": {"c": "\xff"}}', False),
        (b'{"eventType": "a", "appName": "b", "description": null}', True),
        (b'{"eventType": 5}', True),
        (b"[{}]", False),
        (b'"{}"', False),
        (b"null", False),
        (b"{} {}", False),
        (b"{'a': 1}", False),
        (b'{"a": "\xe9"}', False),
        (b"{", False),
        (b"", False),
        (b'{"a": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", False),
        (b'{"a": "' + b"x" * MAX_LINE_BYTES + b'"}', False),
    ],
)
def test_what_counts_as_an_object(text: bytes, expected: bool) -> None:
    assert is_object(text) is expected
