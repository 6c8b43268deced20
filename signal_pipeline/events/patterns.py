"""Ordered regular expressions as one Rust matcher: the first rule that matches decides.

Here too: the lists of `device_detector`, Matomo's, of which the data is used and not the code.

`ua_parser_rs` looks at thousands of patterns in the time that Python's `re` needs for a few.
Its engine has no look-around and no possessive quantifiers.
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
# Where device_detector lets a name begin. Everything is in lower case, see `device_pattern`.
_NAME_START = r"(?:^|[^a-z0-9_-]|[^a-z0-9-]_|sprd-|mz-)"


def classifier(rules: Iterable[tuple[str, str]]) -> Classifier:
    """A function that names the first rule (name, pattern) that matches a text, or gives None."""
    patterns = ((f"(?:{pattern})", name, None, None, None, None) for name, pattern in rules)
    extract = UserAgentExtractor(patterns).extract

    def classify(text: str) -> str | None:
        found = extract(text)
        return None if found is None else found.family

    return classify


def device_detector_list(*path: str) -> Any:
    """One of the lists in device_detector's folder of regular expressions, as it is."""
    spec = find_spec("device_detector")  # Importing it would compile what is not used.
    assert spec is not None and spec.origin is not None
    file = Path(spec.origin).parent.joinpath("regexes", "upstream", *path)
    return yaml_rs.loads(file.read_text(encoding="utf-8"))


def lower_pattern(pattern: str) -> str:
    """A pattern of device_detector for this engine, to be matched against text in lower case.

    Lower case compiles in half the time of a pattern that ignores case. The few patterns with
    look-around lose it: they match more than they say, which was measured to be harmless.
    """
    plain = _LOOK_AROUND.sub("", pattern)
    lower = _ESCAPE_OR_CAPITALS.sub(lambda found: found[1] or found[0].lower(), plain)
    return f"{_NAME_START}(?:{lower})"
