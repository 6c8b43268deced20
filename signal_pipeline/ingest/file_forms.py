"""The form of a file that should be NDJSON and is not, recognised by its first bytes.

The module names other forms for the person who sent such a file. A name never repeats text from the
file.
"""

from __future__ import annotations

import codecs
import json
import re

# Forms that the first bytes identify for sure. Such a file can hold lines that are JSON objects (a
# tar archive does), but reading only those would lose the rest.
_SIGNATURES = (
    (codecs.BOM_UTF32_LE, "UTF-32 text"),  # Before UTF-16, whose mark begins the same way.
    (codecs.BOM_UTF32_BE, "UTF-32 text"),
    (codecs.BOM_UTF16_LE, "UTF-16 text"),
    (codecs.BOM_UTF16_BE, "UTF-16 text"),
    (b"\x1e", "a JSON text sequence (RFC 7464)"),
    (b"\x1f\x8b", "gzip data"),  # Only inside other compressed data; elsewhere it is read.
    (b"\x28\xb5\x2f\xfd", "zstd data"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\xfd7zXZ\x00", "xz data"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a rar archive"),
    (b"\x04\x22\x4d\x18", "lz4 data"),
    (b"\xff\x06\x00\x00sNaPpY", "snappy data"),
    (b"\x1f\x9d", "compress (.Z) data"),
    (b"PAR1", "a Parquet file"),
    (b"Obj\x01", "an Avro file"),
    (b"ARROW1\x00\x00", "an Arrow file"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"%PDF-", "a PDF file"),
)
PRETTY_PRINTED = "JSON over several lines (pretty-printed)"
SAMPLED_LINES = 20
LONG_LINE = 50_000
_BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17\x72\x45\x38\x50\x90)")
_TAR_MAGIC = slice(257, 262)
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_ACCESS_LOG = re.compile(r"\S+ \S+ .{1,80}? ?\[\d\d/[A-Z][a-z]{2}/\d{4}:")
_ARRAY = re.compile(r'\[\s*(?:[\[{"\]]|$|-?\d+\s*,)')
_OBJECT_WITHIN_TEXT = re.compile(r"[^{}\n]+\{.*\}\s*")
_HTML = re.compile(r"<(?:!doctype html|html|head|body)\b", re.IGNORECASE)


def signature(head: bytes) -> str | None:
    """Return the form that these first bytes identify for sure, or None."""
    for sign, form in _SIGNATURES:
        if head.startswith(sign):
            return form
    if _BZIP2.match(head):
        return "bzip2 data"
    return "a tar archive" if head[_TAR_MAGIC] == b"ustar" else None


def likely_form(head: bytes) -> str:
    """Return the likeliest form of content in which no line is a JSON object."""
    if form := signature(head) or _form_by_nuls(head):
        return form
    try:
        # The decoder is incremental, because the head can end in the middle of a character.
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return (
            "binary data"
            if _CONTROLS.search(head.decode("latin-1"))
            else "text in another encoding than UTF-8"
        )
    text = text.strip("\ufeff \t\r\n")
    if not text:
        return "text behind many blank lines"
    if _CONTROLS.search(text):
        return "binary data"
    if "\r" in text and "\n" not in text:
        return "text with CR alone as line end"
    return _form_of_json(text) or _form_of_text(text)


def is_pretty_printed(head: bytes) -> bool:
    """Return whether the first JSON object of a file spans several lines and is whole in `head`.

    `head` is the beginning of the file. The object can be the first of an array. A line that was
    cut off in the middle and is followed by others is no such object. If the first line is only
    `[`, the answer is always yes, because that begins an array.
    """
    text = head.decode("utf-8", "replace").strip("\ufeff \t\r\n")
    if text.partition("\n")[0].rstrip() == "[":
        return True
    text = text.removeprefix("[").lstrip()
    first_line = text.partition("\n")[0].rstrip()
    if not text.startswith("{") or first_line.endswith("}"):
        return False
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and end > len(first_line)


def _form_by_nuls(head: bytes) -> str | None:
    """Return the form if NUL bytes give it away, as in UTF-16 and UTF-32, or None."""
    if not head.strip(b"\x00"):
        return "nothing but NUL bytes"
    quarters = [head[place::4].count(0) / (len(head[place::4]) or 1) > 0.5 for place in range(4)]
    if quarters in ([False, True, True, True], [True, True, True, False]):
        return "UTF-32 text"
    return "UTF-16 text" if quarters in ([False, True] * 2, [True, False] * 2) else None


def _form_of_json(text: str) -> str | None:
    first_line = text.partition("\n")[0].rstrip()
    if _ARRAY.match(text):
        return "a JSON array"
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return _form_of_broken_json(text, first_line)
    if isinstance(value, str):
        return "JSON strings, not objects"
    if not isinstance(value, dict):
        return "JSON values that are not objects" if end >= len(first_line) else None
    if end > len(first_line):
        return PRETTY_PRINTED
    return "several JSON objects on a line" if end < len(first_line) else None


def _form_of_broken_json(text: str, first_line: str) -> str | None:
    if not text.startswith("{"):
        return None
    if first_line.endswith(("{", "[", ",")) and first_line != text:
        return PRETTY_PRINTED
    return (
        "a very long line"
        if len(first_line) > LONG_LINE
        else "lines that begin like JSON objects but are not"
    )


def _form_of_text(text: str) -> str:
    lines = [line for line in text.split("\n")[:SAMPLED_LINES] if line.strip()]
    whole = lines[:-1] or lines  # The last line can be cut off.
    if text.startswith("<"):
        return "HTML" if _HTML.match(text) else "XML"
    if _ACCESS_LOG.match(text):
        return "an access log"
    if text.startswith(("---", "%YAML")):
        return "YAML"
    if all(map(_OBJECT_WITHIN_TEXT.fullmatch, whole)):
        return "JSON objects with other text before them"
    for separator, form in ((",", "CSV"), ("\t", "tab-separated values"), (";", "CSV")):
        if (
            separator in lines[0]
            and "{" not in lines[0]
            and len({line.count(separator) for line in whole}) == 1
        ):
            return form
    return "plain text"
