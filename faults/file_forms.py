"""The forms in which a file of lines can come.

Some are read; the others must be refused and change nothing.
"""

from __future__ import annotations

import codecs
import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from signal_pipeline.ingest.compressed import zstd

MEMBER_LINES = 1_000
PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda lines: lines,
    "marked": lambda lines: codecs.BOM_UTF8 + lines,
    "gzip": lambda lines: gzip.compress(lines, 1),
    "zstd": zstd.compress,
}


class FilesOfEveryForm:
    """Writes lines to several files in turn, one file for each form that Signal reads.

    A compressed file has many members or frames. The marked file has many parts that each begin
    with a byte order mark.
    """

    def __init__(self, folder: Path) -> None:
        self._waiting: dict[Path, list[bytes]] = {
            folder / f"hostile-{name}": [] for name in PACKINGS
        }
        self.files = list(self._waiting)
        for path in self.files:
            path.unlink(missing_ok=True)
        self._written = 0

    def write(self, line: bytes) -> None:
        """Add a line to the next file."""
        path = self.files[self._written % len(self.files)]
        self._written += 1
        self._waiting[path].append(line + b"\n")
        if len(self._waiting[path]) == MEMBER_LINES:
            self._flush(path)

    def close(self) -> None:
        """Write what is left."""
        for path in self.files:
            self._flush(path)

    def _flush(self, path: Path) -> None:
        pack = PACKINGS[path.name.removeprefix("hostile-")]
        with path.open("ab") as stream:
            stream.write(pack(b"".join(self._waiting[path])))
        self._waiting[path].clear()


def other_forms(lines: Sequence[bytes]) -> dict[str, bytes]:
    """Return good lines in forms that are not NDJSON."""
    text = b"".join(line + b"\n" for line in lines).decode()
    return {
        "array": b"[" + b",".join(lines) + b"]",
        "array-over-lines": b"[\n" + b",\n".join(lines) + b"\n]\n",
        "pretty-printed": json.dumps([json.loads(line) for line in lines], indent=2).encode(),
        "marked-array": codecs.BOM_UTF8 + b"[" + b",".join(lines) + b"]",
        "one-line": b"".join(lines),
        "strings": b"".join(json.dumps(line.decode()).encode() + b"\n" for line in lines),
        "cr": text.replace("\n", "\r").encode(),
        "utf-16": text.encode("utf-16"),
        "utf-16-be": text.encode("utf-16-be"),
        "utf-32": text.encode("utf-32"),
        "rfc-7464": b"".join(b"\x1e" + line + b"\n" for line in lines),
        "gzip-array": gzip.compress(b"[" + b",".join(lines) + b"]"),
        "gzip-twice": gzip.compress(gzip.compress(text.encode())),
        "zstd-utf-16": zstd.compress(text.encode("utf-16")),
        "nuls": bytes(100_000),
    }
