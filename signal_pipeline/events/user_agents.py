"""Turns a raw user agent into the little that Signal keeps of it: bot or not, and coarse buckets.

The module cleans the text and holds the cache. `bots.py` has the test for bots, `browsers.py` the
closed lists of names (which are part of the user hash), and `devices.py` the device types.
`acceptance.py` decides what becomes of a bot's event.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from signal_pipeline.events.bots import is_bot
from signal_pipeline.events.browsers import HASH_RULES, UNKNOWN, names
from signal_pipeline.events.devices import device_type, load_models

MAXIMUM_CHARACTERS = 512
CACHED_USER_AGENTS = 4096

_day_of_cache = date.min
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class UserAgent:
    """The parts of a user agent that are kept.

    These are members of BROWSER_FAMILIES, OS_FAMILIES and DEVICE_TYPES, and the browser's major
    version (at most four ASCII digits, or empty). `normalised` is an input of the user hash,
    `browser|major|os`, and empty for a missing user agent. A bot has buckets too; they are counted,
    and no event of a bot is stored.
    """

    bot: bool
    browser_family: str
    major: str
    os_family: str
    device_type: str
    normalised: str


_MISSING = UserAgent(False, UNKNOWN, "", UNKNOWN, UNKNOWN, "")


def parse_user_agent(text: str | None) -> UserAgent:
    """Return the buckets of a raw user agent. This never raises.

    A missing or blank user agent is not a bot, and all its buckets are unknown. Only the first 512
    characters count, and every character that is not printable ASCII counts as `?`. Results are
    kept in a bounded cache whose keys are user agents; `forget_past_days` empties it at midnight
    UTC.
    """
    return _parse(text[:MAXIMUM_CHARACTERS]) if text else _MISSING


def load_lists() -> None:
    """Read and compile the lists, which takes about a second.

    Without this call, the first events wait for it.
    """
    parse_user_agent("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120.0.0.0")
    load_models()


def forget_past_days(today: date) -> None:
    """Forget every user agent, unless `today` is the UTC date that the last call had.

    The date is kept with the cache, so that the next ingest of a process does not empty the cache
    on the same day.
    """
    global _day_of_cache
    if today != _day_of_cache:
        clear_cache()
        _day_of_cache = today


def clear_cache() -> None:
    """Forget every user agent seen so far."""
    _parse.cache_clear()


def hash_inputs(text: str) -> dict[int, str]:
    """Return `UserAgent.normalised` of a raw user agent for each version of HASH_RULES.

    The newest version comes first.
    """
    cleaned = _clean(text[:MAXIMUM_CHARACTERS])
    versions = range(HASH_RULES, 0, -1)
    return {rules: names(cleaned, rules).normalised if cleaned else "" for rules in versions}


@lru_cache(maxsize=CACHED_USER_AGENTS)
def _parse(text: str) -> UserAgent:
    text = _clean(text)
    if not text:
        return _MISSING
    named = names(text)
    return UserAgent(is_bot(text), *named, device_type(text), named.normalised)


def _clean(text: str) -> str:
    text = text.strip()
    return text if text.isascii() and text.isprintable() else _UNPRINTABLE.sub("?", text)
