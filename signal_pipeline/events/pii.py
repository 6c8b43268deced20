"""The test of whether a description holds personal data (requirement 3.4).

The module goes through a description, and looks at each part as it is written and without its
disguises (`readings.py`). `private_keys.py` and `private_texts.py` decide which keys and texts are
private; `acceptance.py` checks size and schema.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeGuard

from signal_pipeline.events.private_keys import is_private_key
from signal_pipeline.events.private_texts import (
    is_card,
    is_place,
    is_private_number,
    is_private_text,
    is_user_agent,
)
from signal_pipeline.events.readings import readings

# Everything private in a text has one of these signs, a digit, or a slash before one.
_SIGN = re.compile("[@:.%&\\\\?+(=\u0080-\U0010ffff]")
# A key of JSON inside a text; its quotes can be escaped any number of times.
_JSON_KEY = re.compile(r'"([^"\\:{}]{1,64})\\*"\s*:')


def holds_pii(value: object) -> bool:
    """Return whether a JSON value holds personal data, at any depth.

    Personal data is a private key, the number of a payment card, coordinates, or a text with
    something private in it. A text also counts if JSON inside it has a private key, and keys are
    texts too. Compatibility characters, percent-encoding and escapes for HTML or JSON hide nothing.
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
    """Return whether a text, in any of its `readings`, is private or holds a private JSON key."""
    if not _SIGN.search(text):
        return is_private_number(text) or is_user_agent(text)
    return any(is_private_text(form) or _holds_json_key(form) for form in readings(text))


def _holds_json_key(text: str) -> bool:
    return '"' in text and any(is_private_key(found[1]) for found in _JSON_KEY.finditer(text))


def _key_holds_pii(key: str) -> bool:
    return any(is_private_key(form) for form in readings(key)) or _text_holds_pii(key)


def _is_card_number(number: float) -> bool:
    """Return whether a number is that of a payment card. A float counts if it is whole."""
    return (
        10**13 < abs(number) < 10**19 and number == int(number) and is_card(str(abs(int(number))))
    )


def _is_position(numbers: Sequence[object]) -> bool:
    """Return whether a list is a position as in GeoJSON: two numbers with four or more decimals.

    A third number is its altitude, with any decimals.
    """
    first, second, *altitude = numbers
    return (
        _is_fine(first)
        and _is_fine(second)
        and all(isinstance(number, (int, float)) for number in altitude)
        and is_place(first, second)
    )


def _is_fine(number: object) -> TypeGuard[float]:
    return isinstance(number, float) and round(number, 3) != number
