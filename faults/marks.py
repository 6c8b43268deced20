"""Marks that must not be found at rest, in every form that they could take, and their search.

A mark is a text that represents a private value in a test run. Its forms are the plain text, lower
case, hexadecimal, Base64, URL encoding, UTF-16, and unkeyed digests. Whoever has an unkeyed digest
can find the value by trying every value.
"""

from __future__ import annotations

import base64
import hashlib
import mmap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus

MINIMUM_BYTES = 6  # Shorter needles are found by chance.


def forms(name: str, value: str | bytes) -> Iterator[tuple[str, bytes]]:
    """Yield each form of a value, with a name for the form that does not contain the value."""
    raw = value if isinstance(value, bytes) else value.encode()
    yield from _texts(name, raw)
    if isinstance(value, str):
        yield f"{name} in UTF-16", value.encode("utf-16-le")
        for label, encoded in (("URL", quote(value, safe="")), ("form", quote_plus(value))):
            yield f"{name} {label}-encoded", encoded.encode()
            yield f"{name} {label}-encoded in lower case", encoded.lower().encode()
        yield f"{name} in lower case", value.lower().encode()
    for algorithm in ("md5", "sha1", "sha256"):
        yield from _texts(
            f"{algorithm} of {name}", hashlib.new(algorithm, raw, usedforsecurity=False).digest()
        )


def _texts(name: str, raw: bytes) -> Iterator[tuple[str, bytes]]:
    yield name, raw
    yield f"{name} in hex", raw.hex().encode()
    yield f"{name} in upper hex", raw.hex().upper().encode()
    for shift in range(3):  # In Base64, a value within a text has one of three forms.
        encoded = base64.b64encode(b"\0" * shift + raw)
        core = encoded[
            (0, 2, 3)[shift] : len(encoded) // 4 * 4 - (4 if (len(raw) + shift) % 3 else 0)
        ]
        yield f"{name} in Base64", core
        yield f"{name} in URL-safe Base64", core.translate(bytes.maketrans(b"+/", b"-_"))


def needles(marks: Mapping[str, str | bytes]) -> dict[bytes, str]:
    """Return every form of every mark, and what to call a hit."""
    found: dict[bytes, str] = {}
    for name, value in marks.items():
        for label, needle in forms(name, value):
            if len(needle) >= MINIMUM_BYTES:
                found.setdefault(needle, label)
    return found


def hits(wanted: Mapping[bytes, str], haystack: bytes | mmap.mmap) -> set[str]:
    """Return the labels of the needles that occur in the haystack."""
    return {label for needle, label in wanted.items() if haystack.find(needle) >= 0}


def hits_in_files(wanted: Mapping[bytes, str], files: Iterable[Path]) -> dict[str, set[str]]:
    """Return the hits by file; sockets and empty files are left out."""
    found = {}
    for path in files:
        if not path.is_file() or path.is_symlink() or path.stat().st_size == 0:
            continue
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            if labels := hits(wanted, content):
                found[str(path)] = labels
    return found
