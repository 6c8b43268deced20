"""NDJSON as it arrives: one JSON object a line, in UTF-8, plain or compressed with gzip or zstd.

The module turns the bytes of a stream into blocks of whole lines, and decides whether the stream is
NDJSON at all. `file_forms.py` names other forms; `events/acceptance.py` decides what becomes of a
line.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO, NamedTuple

import msgspec

from signal_pipeline.errors import SignalError
from signal_pipeline.events.acceptance import MAX_LINE_BYTES
from signal_pipeline.events.event import IncomingEvent
from signal_pipeline.ingest.compressed import (
    PART_BYTES,
    DecompressedStream,
    PeekedStream,
    compression_of,
)
from signal_pipeline.ingest.file_forms import (
    is_pretty_printed,
    likely_form,
    signature,
)

# The most lines of a block. They are bounded, because each line takes more memory than its bytes. A
# block of lines of usual length has a fifth of this number.
MOST_LINES = 100_000
# If no line in this many decompressed bytes is a JSON object, the content has another form.
LOOK_AHEAD_BYTES = 64 * 1024 * 1024
SAMPLED_LINES = 100
UNREADABLE = b"?"  # Replaces a line that is not a JSON object.
MARK = codecs.BOM_UTF8
_MARKS = re.compile(rb"(?:%b)+" % MARK)
_LATER_MARKS = re.compile(rb"\n(?:%b)+" % MARK)
_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_decode_event = msgspec.json.Decoder(IncomingEvent).decode
_decode_any = msgspec.json.Decoder().decode


class StreamError(SignalError):
    """The error for a stream that cannot be read as NDJSON, or not to its end."""


class FormError(StreamError):
    """The error for a stream of another form, of which nothing was stored.

    Its first bytes identify another form, or no line of its first 64 MiB is a JSON object of its
    own. A part of an array, or of an object over several lines, is not an object of its own.
    """

    def __init__(self, form: str) -> None:
        super().__init__(
            f"looks like {form}, not like NDJSON (one JSON object a line, in UTF-8): nothing of it"
            " is stored"
        )


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines of a stream.

    Attributes:
        end_offset: the offset of the byte after the last line, in decompressed bytes from the start
            of the stream.
        bytes: how many bytes of the stream were read since the block before; compressed bytes if
            the stream is compressed.
        first_line: the number of the first line, counted from 1 at the point where reading began.
    """

    lines: list[bytes]
    end_offset: int
    bytes: int
    first_line: int


class NdjsonReader:
    """A reader of a stream, block by block, in bounded memory.

    Lines are decompressed and have no byte order marks. Iterating raises FormError, before the
    first block, for a stream of another form. The lines of blocks before the first object are not
    kept: each that is not blank comes back as an unreadable line.
    """

    def __init__(self, stream: BinaryIO, block_bytes: int, start: int = 0) -> None:
        """Look at the first bytes, then go to the offset `start`.

        A plain stream must be able to seek for that. Raises FormError for a form that its first
        bytes identify for sure.
        """
        self._raw = PeekedStream(stream)
        self.compression = compression_of(self._raw.head)
        self._inflated = (
            DecompressedStream(self._raw, self.compression) if self.compression else None
        )
        self._content = PeekedStream(self._inflated) if self._inflated else self._raw
        self._block_bytes = block_bytes
        self._start = start
        # Whether an object was found. A stream that was read before up to `start` is NDJSON.
        self._found = start > 0
        if (form := signature(self._content.head)) is not None:
            raise FormError(self._describe_form(form))
        if start and self._inflated:
            self._content.skip(start)
        elif start:
            stream.seek(start)
            self._raw = self._content = PeekedStream(stream)

    @property
    def fault(self) -> str | None:
        """Return why the stream could not be read to its end, or None if it could.

        This is known after the last block. A line that was not read to its end is left out.
        """
        return self._raw.fault or (self._inflated.fault if self._inflated else None)

    def __iter__(self) -> Iterator[Block]:
        blocks = self._blocks()
        if not self._found:
            yield from self._up_to_an_object(blocks)
        yield from blocks

    def _blocks(self) -> Iterator[Block]:
        """Cut the content after line ends. Only the start of a line that is too long is kept."""
        offset, number, reported, rest = self._start, 1, 0, b""
        while data := self._content.read(self._block_bytes):
            if not self._found and offset > LOOK_AHEAD_BYTES:
                raise FormError(self._describe_form(likely_form(self._content.head)))
            offset += len(data)
            end = data.rfind(b"\n")
            if end < 0:
                rest = (rest + data)[: MAX_LINE_BYTES + 1]
                continue
            pieces = _pieces(b"".join((rest, memoryview(data)[:end])))
            rest = data[end + 1 :]
            del data  # The lines are a copy, and data is large.
            for lines, behind in pieces:
                yield Block(
                    lines, offset - len(rest) - behind, self._raw.bytes_read - reported, number
                )
                number, reported = number + len(lines), self._raw.bytes_read
        if rest and not self.fault:
            yield Block([without_marks(rest)], offset, self._raw.bytes_read - reported, number)

    def _up_to_an_object(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """Yield the blocks up to the first with a JSON object, or all of them if they are blank."""
        skipped: list[_Skipped] = []
        objects = listed = 0
        found: Block | None = None
        for block in blocks:
            sample = list(islice(filter(None, map(bytes.strip, block.lines)), SAMPLED_LINES))
            objects += sum(map(is_object, sample))
            listed += sum(
                is_object(line.strip(b",["))
                for line in sample
                if line[:1] == b"," or line[-1:] == b","
            )
            if any(map(_shows_ndjson, block.lines)):
                found, self._found = block, True
                break
            skipped.append(_Skipped.of(block))
        if listed and listed >= objects:  # One object of an array has no comma next to it.
            raise FormError(self._describe_form("a JSON array with an object a line"))
        # If the first object spans several lines, what was found is a value inside it.
        if (
            any(each.lines for each in skipped)
            if found is None
            else is_pretty_printed(self._content.head)
        ):
            raise FormError(self._describe_form(likely_form(self._content.head)))
        yield from (each.block() for each in skipped)
        if found is not None:
            yield found

    def _describe_form(self, form: str) -> str:
        return f"{form} inside {self.compression} data" if self.compression else form


def check_form(stream: BinaryIO, *, to_the_end: bool = False) -> None:
    """Read a seekable stream from its start until its form is known, and go back to the start.

    Raises FormError for another form than NDJSON. With `to_the_end`, raises StreamError too, for
    compressed data that cannot be read to its end.
    """
    stream.seek(0)
    reader = NdjsonReader(stream, PART_BYTES)
    for _ in reader:
        if not (to_the_end and reader.compression):
            break
    stream.seek(0)
    if to_the_end and reader.fault:
        raise StreamError(reader.fault)


def is_object(line: bytes) -> bool:
    """Return whether a line is a JSON object, read as acceptance reads it.

    Acceptance skips fields that it does not know.
    """
    if len(line) > MAX_LINE_BYTES:
        return False
    try:
        description = bytes(_decode_event(line).description)
    except msgspec.ValidationError:
        return isinstance(_decode(line), dict)
    except _UNDECODABLE:
        return False
    return not description or description == b"null" or _decode(description) is not None


def _shows_ndjson(line: bytes) -> bool:
    """Return whether a line is an object that cannot be a part of pretty-printed JSON.

    A part is indented, and states no event.
    """
    if not is_object(line):
        return False
    if not line[:1].isspace():
        return True
    fields = _decode(line)
    return isinstance(fields, dict) and "eventType" in fields


def _pieces(data: bytes, behind: int = 0) -> Iterator[tuple[list[bytes], int]]:
    """Yield the lines of a block, in pieces if there are very many.

    Each piece comes with the number of bytes after it.
    """
    lines = without_marks(data).split(b"\n")
    if len(lines) <= MOST_LINES:
        del data
        yield lines, behind
    else:
        del lines
        middle = data.rfind(b"\n", 0, len(data) // 2)
        if middle < 0:
            middle = data.find(b"\n")
        yield from _pieces(data[:middle], behind + len(data) - middle)
        yield from _pieces(data[middle + 1 :], behind)


def without_marks(lines: bytes) -> bytes:
    """Return whole lines without byte order marks before them.

    A later line can begin with a mark if several files were joined.
    """
    if MARK[0] not in lines:  # Looking for a single byte costs almost nothing.
        return lines
    if first := _MARKS.match(lines):
        lines = lines[first.end() :]
    return _LATER_MARKS.sub(b"\n", lines) if b"\n" + MARK in lines else lines


def _decode(text: bytes) -> object:
    """Return the value of a JSON text, or None if the text is not JSON."""
    try:
        return _decode_any(text)
    except _UNDECODABLE:
        return None


class _Skipped(NamedTuple):
    """A block without a JSON object; `lines` is how many of its lines are not blank."""

    lines: int
    end_offset: int
    bytes: int
    first_line: int

    @classmethod
    def of(cls, block: Block) -> _Skipped:
        filled = [
            number
            for number, line in enumerate(block.lines, block.first_line)
            if line and not line.isspace()
        ]
        return cls(
            len(filled), block.end_offset, block.bytes, filled[0] if filled else block.first_line
        )

    def block(self) -> Block:
        return Block([UNREADABLE] * self.lines, self.end_offset, self.bytes, self.first_line)
