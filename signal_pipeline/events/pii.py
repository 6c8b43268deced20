"""Does a description hold personal data? (requirement 3.4)

Here: going through a description, each part in every reading. Not here: which keys and which texts
are private (`private_keys.py`, `private_texts.py`), size and schema (`acceptance.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from signal_pipeline.events.private_keys import is_private_key
from signal_pipeline.events.private_texts import (
    is_card,
    is_place,
    is_private_number,
    is_private_text,
)
from signal_pipeline.events.readings import readings

# Nothing that is looked for in a text can do without one of these, or a digit.
_SIGN = re.compile("[@:.%&\\\\?+(=\u0080-\U0010ffff]")
# A key of JSON inside a text, its quotes escaped however often.
_JSON_KEY = re.compile(r'"([^"\\:{}]{1,64})\\*"\s*:')


def holds_pii(value: object) -> bool:
    """Whether a JSON value holds, at any depth, a PII-shaped key, the number of a payment card,
    coordinates, or a text (a key included) with something private or with JSON with such a key
    anywhere inside; also if written in compatibility characters, percent-encoded, or escaped for
    HTML or JSON.
    """
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, str):
            if _text_holds_pii(current):
                return True
        elif isinstance(current, Mapping):
            if any(_key_holds_pii(key) for key in current if isinstance(key, str)):
                return True
            pending.extend(current.values())
        elif isinstance(current, (list, tuple)):
            if len(current) in (2, 3) and _is_position(current):
                return True
            pending.extend(current)
        elif isinstance(current, (int, float)) and _is_card_number(current):
            return True
    return False


def _text_holds_pii(text: str) -> bool:
    """Whether a text, as it stands or as one of its `readings`, is private or holds JSON with a
    private key.
    """
    if not _SIGN.search(text):
        return is_private_number(text)
    return any(is_private_text(form) or _holds_json_key(form) for form in readings(text))


def _holds_json_key(text: str) -> bool:
    return '"' in text and any(is_private_key(found[1]) for found in _JSON_KEY.finditer(text))


def _key_holds_pii(key: str) -> bool:
    return any(is_private_key(form) for form in readings(key)) or _text_holds_pii(key)


def _is_card_number(number: float) -> bool:
    """Whether a number is one of a payment card; a float that is one is a whole number."""
    return (
        10**13 < abs(number) < 10**19 and number == int(number) and is_card(str(abs(int(number))))
    )


def _is_position(numbers: Sequence[object]) -> bool:
    """Whether a list is a position as GeoJSON writes it, with four decimals or more each."""
    fine = [
        number for number in numbers if isinstance(number, float) and round(number, 3) != number
    ]
    return len(fine) == len(numbers) and is_place(fine[0], fine[1])
