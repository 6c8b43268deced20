"""The readings of a text: the text as it is written, and without its disguises.

The module only decodes. `private_keys.py`, `private_texts.py` and `routes.py` decide what to look
for.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from html import unescape
from urllib.parse import unquote

# How many times a text is decoded. No reader will see anything that is still hidden after that.
_DECODINGS = 3

# A character reference of HTML, by name or number (with as many digits as Python converts), and an
# escape of JSON inside JSON. JSON can also have a slash as `\/`, as PHP writes it.
_REFERENCE = re.compile(r"&(?:#[0-9]{1,4000}|#[xX][0-9A-Fa-f]{1,4000}|[A-Za-z]{2,32});?")
_ESCAPE = re.compile(r"(?<!\\)\\++u([0-9A-Fa-f]{4})")
_ESCAPED_SLASH = re.compile(r"(?<!\\)\\++/")
# Characters that are invisible although not in the category "Cf": joiners, fillers, variation
# selectors, and those that Unicode reserves for more such ones ("Default_Ignorable_Code_Point").
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8"
    "\U000e0000-\U000e0fff]"
)
_SIMPLER = {"Zs": " ", "Pd": "-"}
_REMEMBERED_CHARACTERS = 4_096


def readings(text: str) -> Iterator[str]:
    """Yield the text itself, then every other reading of it.

    For the other readings, the text first loses its compatibility and invisible characters. Then
    its percent-encoding and its escapes of HTML and JSON are decoded too.
    """
    yield text
    for _ in range(_DECODINGS):
        plain = text if text.isascii() else _plain(text)
        decoded = unquote(plain) if "%" in plain else plain
        if "&" in decoded:
            decoded = _REFERENCE.sub(lambda found: unescape(found[0]), decoded)
        if "\\" in decoded:
            decoded = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), decoded)
            decoded = _ESCAPED_SLASH.sub("/", decoded)
        if decoded == text:
            return
        if plain not in (text, decoded):
            yield plain
        yield decoded
        text = decoded


def visible(text: str) -> str:
    """Return the text without invisible characters: direction marks, joiners, fillers."""
    if text.isascii():
        return text
    return "".join(character for character in text if not _is_unseen(character))


def _plain(text: str) -> str:
    """Return the text in NFKC, without invisible characters.

    Digits of any script become ASCII digits, and blanks and dashes become plain ones.
    """
    return unicodedata.normalize("NFKC", text).translate(_simpler)


class _Simpler(dict[int, str]):
    """The replacement for each character, by its number, computed at first use."""

    def __missing__(self, number: int) -> str:
        character = chr(number)
        if _is_unseen(character):
            simpler = ""
        elif character.isdecimal():
            simpler = str(unicodedata.decimal(character))
        else:
            simpler = _SIMPLER.get(unicodedata.category(character), character)
        if len(self) < _REMEMBERED_CHARACTERS:
            self[number] = simpler
        return simpler


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) == "Cf" or _UNSEEN.match(character) is not None


_simpler = _Simpler()
