"""Streams of bytes, plain or compressed with gzip or zstd, that show their beginning in advance.

`ndjson.py` decides what a stream holds.
"""

from __future__ import annotations

import gzip
import sys
import zlib
from io import BytesIO
from typing import BinaryIO, Literal, Protocol, cast

if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd


HEAD_BYTES = 64 * 1024  # The bytes by which a form is recognised.
PART_BYTES = 1024 * 1024  # The bytes that are decompressed at once.
Compression = Literal["gzip", "zstd"]
_COMPRESSIONS: list[tuple[bytes, Compression]] = [
    (b"\x1f\x8b\x08", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    # Skippable frames, with which zstd data can begin.
    *((bytes((number, 0x2A, 0x4D, 0x18)), "zstd") for number in range(0x50, 0x60)),
]


def compression_of(head: bytes) -> Compression | None:
    """Return the compression that these first bytes show, or None."""
    return next((name for magic, name in _COMPRESSIONS if head.startswith(magic)), None)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class PeekedStream:
    """A stream that shows its first bytes before they are read, and counts the bytes read.

    If the system cannot read on, the stream ends there and `fault` says why, so that what was read
    before is not lost.
    """

    def __init__(self, stream: _Readable) -> None:
        self._stream = stream
        self._ended = False
        self.fault: str | None = None
        self.head = b""
        while (missing := HEAD_BYTES - len(self.head)) and not self._ended:
            self.head += self._read_more(missing)
        self._unread = BytesIO(self.head)
        self.bytes_read = 0

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, `size` unless the stream ends."""
        data = self._unread.read(size)
        if len(data) < size and not self._ended:
            data += self._read_more(size - len(data))
        self.bytes_read += len(data)
        return data

    def _read_more(self, size: int) -> bytes:
        """Return the next bytes, and remember the end, so that nothing is read after it.

        A terminal that is read again after its end asks for more input.
        """
        try:
            data = self._stream.read(size)
        except OSError as error:
            self.fault = f"cannot be read to its end ({error.strerror or type(error).__name__})"
            data = b""
        self._ended = not data
        return data or b""

    def skip(self, size: int) -> None:
        """Read `size` bytes, or up to the end of the stream, and drop them."""
        while size and (data := self.read(min(size, PART_BYTES))):
            size -= len(data)


class DecompressedStream:
    """The content of compressed data, as far as it can be read.

    The data can have several members or frames.
    """

    def __init__(self, raw: PeekedStream, compression: Compression) -> None:
        # By their type stubs, both classes need `seek` too, but reading forward never calls it.
        stream = cast(BinaryIO, raw)
        self._file = (
            gzip.GzipFile(fileobj=stream, mode="rb")
            if compression == "gzip"
            else zstd.ZstdFile(stream)
        )
        self._compression = compression
        self.fault: str | None = None

    def read(self, size: int, /) -> bytes:
        """Return the next bytes of the content; fewer than `size` at its end or its `fault`."""
        parts = []
        try:
            while size and not self.fault and (part := self._file.read1(min(size, PART_BYTES))):
                parts.append(part)
                size -= len(part)
        except EOFError:
            self.fault = f"holds {self._compression} data that is cut short"
        except (gzip.BadGzipFile, zlib.error, zstd.ZstdError):
            self.fault = (
                f"holds {self._compression} data that is damaged, or cannot be decompressed here"
            )
        return b"".join(parts)
