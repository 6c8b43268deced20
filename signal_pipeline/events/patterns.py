"""Ordered regular expressions as one Rust matcher, in which the first rule that matches decides.

`ua_parser_rs` tries thousands of patterns in the time that Python's `re` needs for a few. Its
engine has neither look-around nor possessive quantifiers.

The module also reads the lists of Matomo's `device_detector`. Signal uses the data of that package,
but not its code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml_rs

try:
    from ua_parser_rs import UserAgentExtractor
except ImportError as error:
    # Other backends are up to 40 times slower and answer differently for bots.
    raise ImportError(
        "Signal needs the Rust backend of ua-parser: pip install ua-parser-rs"
    ) from error

Classifier = Callable[[str], str | None]

_LOOK_AROUND = re.compile(r"\(\?<?[=!](?:\\.|[^()\\]|\((?:\\.|[^()\\])*\))*\)")
_ESCAPE_OR_CAPITALS = re.compile(r"(\\.)|[A-Z]+")
# The places where device_detector lets a name begin, for text in lower case; see `lower_pattern`.
# device_detector says [^a-z0-9_-] and [^a-z0-9-]_. Our texts are printable ASCII, so both classes
# can leave out all other characters of Unicode, and compile in two thirds of the time.
_NAME_START = r"(?:^|[ -,./:-^`{-~]|[ -,./:-`{-~]_|sprd-|mz-)"


def classifier(rules: Iterable[tuple[str, str]]) -> Classifier:
    """Return a function that names the first rule that matches a text, or returns None.

    A rule is a name and a pattern.
    """
    patterns = ((f"(?:{pattern})", name, None, None, None, None) for name, pattern in rules)
    extract = UserAgentExtractor(patterns).extract

    def classify(text: str) -> str | None:
        found = extract(text)
        return None if found is None else found.family

    return classify


def device_detector_list(*path: str) -> Any:
    """Return one of the lists in device_detector's folder of regular expressions, unchanged."""
    spec = find_spec("device_detector")  # Importing it would compile code that is not used.
    assert spec is not None and spec.origin is not None
    file = Path(spec.origin).parent.joinpath("regexes", "upstream", *path)
    return yaml_rs.loads(file.read_text(encoding="utf-8"))


def lower_pattern(pattern: str) -> str:
    """Turn a pattern of device_detector into one for this engine and for lower-case text.

    A lower-case pattern compiles in half the time of one that ignores case. The few patterns with
    look-around lose it and match more than they should; measurements showed this to be harmless.
    """
    plain = _LOOK_AROUND.sub("", pattern)
    lower = _ESCAPE_OR_CAPITALS.sub(lambda found: found[1] or found[0].lower(), plain)
    return f"{_NAME_START}(?:{lower})"
