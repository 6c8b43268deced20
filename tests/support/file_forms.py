"""Files that hold events in other forms than NDJSON, each with the name of its form."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from datetime import date

from support.traffic import traffic

from signal_pipeline.ingest.compressed import zstd

MARK = b"\xef\xbb\xbf"
OBJECTS = traffic(date(2026, 5, 1), 40)
NDJSON = b"".join(text + b"\n" for text in OBJECTS)
TEXTS = [json.loads(text) for text in OBJECTS]


def _tar(mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        entry = tarfile.TarInfo("events.ndjson")
        entry.size = len(NDJSON)
        archive.addfile(entry, io.BytesIO(NDJSON))
    return buffer.getvalue()


def _zip(method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("events.ndjson", NDJSON)
    return buffer.getvalue()


def _listed(
    separator: bytes, before: bytes = b"[\n", after: bytes = b"\n]\n", count: int = 40
) -> bytes:
    return before + separator.join(OBJECTS[:count]) + after


def _latin_1(name: str) -> bytes:
    lines = [
        json.dumps({**fields, name: {"language": "français"}}, ensure_ascii=False)
        for fields in TEXTS
    ]
    return "\n".join(lines).encode("latin-1")


UTF_8 = NDJSON.decode()
OTHER_FORMS: dict[str, tuple[bytes, str]] = {
    "array": (json.dumps(TEXTS).encode(), "a JSON array"),
    "array of one": (b"[" + OBJECTS[0] + b"]\n", "a JSON array"),
    "marked array": (MARK + json.dumps(TEXTS).encode(), "a JSON array"),
    "array over lines": (json.dumps(TEXTS, indent=2).encode(), "a JSON array"),
    "array of numbers": (b"[" + b"17," * 50_000 + b"1]", "a JSON array"),
    "array, an object a line": (_listed(b",\n"), "a JSON array with an object a line"),
    "array, two objects": (_listed(b",\n", count=2), "a JSON array with an object a line"),
    "array, commas first": (_listed(b"\n,"), "a JSON array with an object a line"),
    "array, CRLF": (
        _listed(b",\r\n", b"[\r\n", b"\r\n]\r\n"),
        "a JSON array with an object a line",
    ),
    "array, wrapped": (
        _listed(b",\n", b'{"events": [\n', b"\n]}\n"),
        "a JSON array with an object a line",
    ),
    "array, blanks": (_listed(b" ,\n\n  "), "a JSON array with an object a line"),
    "object over lines with an empty object on one": (
        json.dumps({"description": {"filters": [{}]}, "appName": "cms"}, indent=2).encode() + b"\n",
        "JSON over several lines (pretty-printed)",
    ),
    "array over lines with an empty object on one": (
        json.dumps([{**TEXTS[0], "description": {"filters": [1, {}]}}, *TEXTS], indent=2).encode(),
        "a JSON array",
    ),
    "object over lines": (
        json.dumps(TEXTS[0], indent=1).encode(),
        "JSON over several lines (pretty-printed)",
    ),
    "objects over lines": (
        "\n".join(json.dumps(fields, indent=4) for fields in TEXTS).encode(),
        "JSON over several lines (pretty-printed)",
    ),
    "objects, no line ends": (b"".join(OBJECTS), "several JSON objects on a line"),
    "objects, blanks": (b" ".join(OBJECTS), "several JSON objects on a line"),
    "strings": (
        b"\n".join(json.dumps(text.decode()).encode() for text in OBJECTS),
        "JSON strings, not objects",
    ),
    "numbers": (b"1\n2\n3\n", "JSON values that are not objects"),
    "CR": (NDJSON.replace(b"\n", b"\r"), "text with CR alone as line end"),
    "UTF-16": (UTF_8.encode("utf-16"), "UTF-16 text"),
    "UTF-16, big end first": (b"\xfe\xff" + UTF_8.encode("utf-16-be"), "UTF-16 text"),
    "UTF-16, no mark": (UTF_8.encode("utf-16-le"), "UTF-16 text"),
    "UTF-16, no mark, big end first": (UTF_8.encode("utf-16-be"), "UTF-16 text"),
    "UTF-32": (UTF_8.encode("utf-32"), "UTF-32 text"),
    "UTF-32, no mark": (UTF_8.encode("utf-32-le"), "UTF-32 text"),
    "UTF-32, no mark, big end first": (UTF_8.encode("utf-32-be"), "UTF-32 text"),
    "UTF-16, then UTF-8": (UTF_8.encode("utf-16") + NDJSON, "UTF-16 text"),
    "Latin-1": (_latin_1("description"), "text in another encoding than UTF-8"),
    "Latin-1 in a known field": (_latin_1("route"), "text in another encoding than UTF-8"),
    "RFC 7464": (
        b"".join(b"\x1e" + text + b"\n" for text in OBJECTS),
        "a JSON text sequence (RFC 7464)",
    ),
    "zip": (_zip(zipfile.ZIP_DEFLATED), "a zip archive"),
    "zip, stored": (_zip(zipfile.ZIP_STORED), "a zip archive"),
    "tar": (_tar("w"), "a tar archive"),
    "tar.gz": (_tar("w:gz"), "a tar archive inside gzip data"),
    "bzip2": (bz2.compress(NDJSON), "bzip2 data"),
    "xz": (lzma.compress(NDJSON), "xz data"),
    "lz4": (b"\x04\x22\x4d\x18" + NDJSON, "lz4 data"),
    "gzip twice": (gzip.compress(gzip.compress(NDJSON)), "gzip data inside gzip data"),
    "zstd in gzip": (gzip.compress(zstd.compress(NDJSON)), "zstd data inside gzip data"),
    "array in gzip": (gzip.compress(json.dumps(TEXTS).encode()), "a JSON array inside gzip data"),
    "UTF-16 in zstd": (zstd.compress(UTF_8.encode("utf-16")), "UTF-16 text inside zstd data"),
    "Parquet": (b"PAR1\x15\x04" + NDJSON + b"PAR1", "a Parquet file"),
    "Avro": (b"Obj\x01\x04\x14avro.codec" + NDJSON, "an Avro file"),
    "SQLite": (b"SQLite format 3\x00" + NDJSON, "an SQLite database"),
    "CSV": (b"eventType,appName,ip\na,b,198.51.100.7\nc,d,198.51.100.8\n", "CSV"),
    "CSV, semicolons": (b"eventType;appName\na;b\n", "CSV"),
    "tabs": (b"eventType\tappName\na\tb\n", "tab-separated values"),
    "HTML": (b"\n<!DOCTYPE html>\n<html><body>503</body></html>\n", "HTML"),
    "XML": (b'<?xml version="1.0"?>\n<Error><Code>NoSuchKey</Code></Error>\n', "XML"),
    "access log": (
        b'198.51.100.7 - - [12/Oct/2026:13:55:36 +0000] "GET / HTTP/1.1" 200 1\n' * 3,
        "an access log",
    ),
    "YAML": (b"---\neventType: a\nappName: b\n", "YAML"),
    "prefixed": (
        b"".join(b"2026-05-01T00:00:00Z stdout " + text + b"\n" for text in OBJECTS),
        "JSON objects with other text before them",
    ),
    "server-sent": (
        b"".join(b"data: " + text + b"\n\n" for text in OBJECTS),
        "JSON objects with other text before them",
    ),
    "dictionaries": (
        b"".join(repr(fields).encode() + b"\n" for fields in TEXTS),
        "lines that begin like JSON objects but are not",
    ),
    "long lines": (b'{"a": "' + b"x" * 300_000 + b'"}\n', "a very long line"),
    "a torn line": (b'{"eventType": "a', "lines that begin like JSON objects but are not"),
    "NULs": (bytes(10_000), "nothing but NUL bytes"),
    "noise": (bytes(range(256)) * 400, "binary data"),
    "text": (b"nothing to see here\n" * 9, "plain text"),
    "text behind many blanks": (
        b"\n" * 100_000 + b"nothing to see here",
        "text behind many blank lines",
    ),
    "text behind blanks": (b"\n" * 1_000 + b"nothing to see here", "plain text"),
}
