"""Turns the route of an event into the route template that is stored (requirements 1 and 3.1).

The module cuts query and fragment, removes invisible characters, and replaces segments that are ids
or tokens. It does not decide whether a route is known. The client already sends templates; this
module is the safety net. The net is cautious: a slug made of words and short numbers stays. Only
finished templates are cached, because a raw route can hold an address or a token.
"""

from __future__ import annotations

import re

from signal_pipeline.events.private_texts import is_private_text
from signal_pipeline.events.readings import readings, visible

MAXIMUM_CHARACTERS = 256
PLACEHOLDER = "[id]"
REMEMBERED_TEMPLATES = 4096

_templates: set[str] = set()

# A text that needs no closer look: it has no query, no digit, no sign of an address, and no run of
# letters that is long enough for a token. Possessive quantifiers make one pass enough.
_PLAIN = re.compile(r"(?:[A-Za-z]{0,15}+[/\[\]()._~-]++)*+[A-Za-z]{0,15}+")
# `?` and `#` as they are, percent-encoded any number of times, or in a form that NFKC turns into
# them.
_QUERY_OR_FRAGMENT = re.compile("[?#\uff1f\uff03\ufe56\ufe5f]|%(?:25)*(?:3[Ff]|23)")
# A parameter of a path (`;jsessionid=...`), or a query that hides in another way.
_PARAMETER = re.compile(r"(?:^|[;&]) ?[\w.~-]+ ?=|[?#]")
# Control characters, line ends, halves of surrogate pairs, and characters that are for private use
# or never assigned.
_FORBIDDEN = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ud800-\\uf8ff\\ufdd0-\\ufdef\\ufffe\\uffff\\U000f0000-\\U0010ffff"
    + "".join(
        f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0x10000, 0xF0000, 0x10000)
    )
    + "]"
)

_UUID = re.compile(r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}")
_ONLY_DIGITS = re.compile(r"[\W\d_]*\d[\W\d_]*")
_ULID = re.compile(r"(?<![0-9A-Za-z])[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}(?![0-9A-Za-z])")
_LONG_HEX = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{16,}(?![0-9A-Za-z])")
_LONG_NUMBER = re.compile(r"[0-9]{7}")
_RUN = re.compile(r"[0-9A-Za-z]{8,}")
_CHANGE = re.compile(r"(?<=[a-z])[^a-z]|(?<=[A-Z])[^A-Z]|(?<=[0-9])[^0-9]")
_LONGEST_WORD = 40


def route_template(text: str) -> str:
    """Return the route without query and fragment, and with `[id]` for each private segment.

    Such a segment is an id, looks like a token, holds `@`, personal data or a parameter, or hides
    what it says. A template or an ordinary slug comes back unchanged, and so does the result of an
    earlier call.

    Raises ValueError if the text does not start with "/", or if it holds control characters, lone
    surrogates, or characters that are for private use or never assigned. Also raises ValueError if
    the text or the result has more than 256 characters, since replacing can lengthen a route. The
    error does not repeat the text.
    """
    if text in _templates:
        return text
    if not text.startswith("/"):
        raise ValueError("the route does not start with '/'")
    if len(text) > MAXIMUM_CHARACTERS:
        raise ValueError(f"the route has more than {MAXIMUM_CHARACTERS} characters")
    if _PLAIN.fullmatch(text):
        return _remember(text)
    if _FORBIDDEN.search(text):
        raise ValueError("the route holds control characters")
    path = _QUERY_OR_FRAGMENT.split(visible(text), maxsplit=1)[0]
    template = "/".join(
        segment if _PLAIN.fullmatch(segment) or not _is_private(segment) else PLACEHOLDER
        for segment in path.split("/")
    )
    if len(template) > MAXIMUM_CHARACTERS:
        raise ValueError(
            f"the route has more than {MAXIMUM_CHARACTERS} characters after its ids are replaced"
        )
    return _remember(template) if template == text else template


def _remember(template: str) -> str:
    """Return a template, and cache it unless the cache is full."""
    if len(_templates) < REMEMBERED_TEMPLATES:
        _templates.add(template)
    return template


def _is_private(segment: str) -> bool:
    """Return whether a segment must be replaced, in whatever way it is encoded.

    It must be replaced if it is an id, looks like a token, holds `@`, personal data or a parameter,
    or hides what it says.
    """
    return any(
        _must_be_replaced(part) for reading in readings(segment) for part in reading.split("/")
    )


def _must_be_replaced(part: str) -> bool:
    return bool(
        "@" in part
        or _ONLY_DIGITS.fullmatch(part)
        or _UUID.search(part)
        or _ULID.search(part)
        or _LONG_HEX.search(part)
        or _LONG_NUMBER.search(part)
        or _PARAMETER.search(part)
        or _FORBIDDEN.search(part)
        or visible(part) != part
        or is_private_text(part)
        or any(_is_token(run) for run in _RUN.findall(part))
        or _is_mixed_token(re.sub(r"[-_.~=]", "", part))
    )


def _is_token(run: str) -> bool:
    """Return whether a run of letters and digits looks random.

    A run looks random if it is longer than any word, or if it changes between lower case, upper
    case and digits more often than words do. Words in camel case change at most at every third
    character; a random run of letters and digits changes at every second.
    """
    digits = sum(character.isdigit() for character in run)
    changes = len(_CHANGE.findall(run))
    one_case = run.islower() or run.isupper()
    if len(run) >= _LONGEST_WORD:
        return True
    if digits and one_case:
        return (digits >= 3 and changes >= 4) or (len(run) >= 20 and changes >= 2)
    if digits:
        return changes >= 5
    return len(run) >= 20 and changes >= 0.4 * len(run)


def _is_mixed_token(compact: str) -> bool:
    """Return whether a whole segment, without its separators, looks random.

    The separators are left out because base64url can have `-` and `_` anywhere.
    """
    kinds = (str.islower, str.isupper, str.isdigit)
    mixed = all(any(kind(character) for character in compact) for kind in kinds)
    return mixed and len(compact) >= 16 and len(_CHANGE.findall(compact)) >= 0.4 * len(compact)
