"""Names that are part of the hash.

They are read correctly, and the version of the rules changes whenever the names do.
"""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version

import pytest

from signal_pipeline.events import browsers
from signal_pipeline.events.user_agents import hash_inputs, parse_user_agent

IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like"
    " Gecko) "
)
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
ANDROID = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        (f"{IPHONE}FxiOS/149 Mobile/15E148 Version/18.0", "Firefox|149|iOS"),
        (f"{IPHONE}FxiOS/149 Mobile/15E148 Safari/605.1.15", "Firefox|149|iOS"),
        (f"{IPHONE}GSA/300 Mobile/15E148 Safari/604.1", "Google App|300|iOS"),
        (f"{IPHONE}OPT/5 Mobile/15E148", "Opera|5|iOS"),
        (f"{IPHONE}Version/18 Mobile/15E148 Safari/604.1", "Safari|18|iOS"),
        (f"{WINDOWS}Chrome/148 Safari/537.36", "Chrome|148|Windows"),
        (f"{WINDOWS}Chrome/148.0.0.0 Safari/537.36 OPR/105", "Opera|105|Windows"),
        (f"{WINDOWS}Chrome/148.0.0.0 YaBrowser/24 Safari/537.36", "Yandex Browser|24|Windows"),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:149) Gecko/20100101 Firefox/149",
            "Firefox|149|Windows",
        ),
        (
            f"{ANDROID}SamsungBrowser/23 Chrome/115.0.0.0 Mobile Safari/537.36",
            "Samsung Internet|23|Android",
        ),
        (f"{MAC} CriOS/148 Version/11.1.1 Safari/605.1.15", "Chrome|148|iOS"),
        (f"{MAC} FxiOS/149 Safari/605.1.15", "Firefox|149|iOS"),
        (f"{MAC}", "WebView||macOS"),
        (
            (
                "Mozilla/5.0 (PlayStation; PlayStation 5/2.26) AppleWebKit/605.1.15 (KHTML, like"
                " Gecko)"
            ),
            "WebView||unknown",
        ),
        (
            (
                "Mozilla/5.0 (Apple TV; CPU OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML,"
                " like Gecko)"
            ),
            "WebView||Other",
        ),
        (
            (
                "Mozilla/5.0 (PC; OpenHarmony 5.0; Windows NT 10.0) AppleWebKit/537.36"
                " Chrome/114.0.0.0 Safari/537.36"
            ),
            "Chrome|114|Other",
        ),
    ],
)
def test_names(text: str, normalised: str) -> None:
    assert parse_user_agent(text).normalised == normalised


def test_a_bot_has_names_too() -> None:
    """Bots are counted by family, so that a maker's phones on the list of crawlers can be seen."""
    agent = parse_user_agent(f"{ANDROID}Chrome/120.0.0.0 Mobile Safari/537.36 DejaClick/2.9.1")
    buckets = (agent.browser_family, agent.os_family, agent.device_type)
    assert (agent.bot, buckets) == (True, ("Chrome", "Android", "mobile"))


def test_earlier_rules_still_give_the_hash_input_that_they_gave() -> None:
    assert hash_inputs(f"{IPHONE}FxiOS/116 Mobile/15E148 Version/15.0") == {
        2: "Firefox|116|iOS",
        1: "WebView|15|iOS",
    }
    assert hash_inputs(MAC) == {2: "WebView||macOS", 1: "Other|605|macOS"}
    assert hash_inputs(f"{WINDOWS}Chrome/120.0.0.0 Safari/537.36") == dict.fromkeys(
        (2, 1), "Chrome|120|Windows"
    )
    assert hash_inputs(" \t") == {2: "", 1: ""}


def test_what_decides_the_hash_changes_with_its_version_alone() -> None:
    """Moving a family, or another release of ua-parser's patterns, is a new version of HASH_RULES.

    Then add it to the docstring of `browsers.py`, keep the results of the earlier versions, and
    write the new digest here.
    """
    decides = {
        "browsers": browsers._BROWSERS,
        "systems": browsers._SYSTEMS,
        "versioned": browsers._VERSIONED,
        "ios": browsers.IOS_BROWSERS,
        "packages": [version(name) for name in ("ua-parser", "ua-parser-builtins", "ua-parser-rs")],
    }
    digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]
    assert (browsers.HASH_RULES, digest) == (2, "2085b90e4cdf93c1")
