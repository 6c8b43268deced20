"""User agents of bots, and of people who look like them."""

from __future__ import annotations

import pytest

from signal_pipeline.events.user_agents import parse_user_agent

WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "


@pytest.mark.parametrize(
    "text",
    [
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        (
            "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML,"
            " like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36 (compatible; Googlebot/2.1;"
            " +http://www.google.com/bot.html)"
        ),
        f"{WINDOWS}HeadlessChrome/120.0.0.0 Safari/537.36",
        # Only ua-parser knows these
        "Mozilla/5.0 (Windows NT 10.0) htdig/3.1 AppleWebKit/537.36 Chrome/120.0.0.0 Safari/537.36",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.0)",
        "Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/534.34 (KHTML, like Gecko) PhantomJS/1.9",
        *("curl/8.4.0", "Wget/1.21", "python-requests/2.31.0", "Go-http-client/2.0", "okhttp/4.9"),
        *("Java/17", "axios/1.6", "node", "PostmanRuntime/7.36", "-", "x", "mozilla/5.0 (x11)"),
        *("Mozilla/5.0", "Mozilla/4.0", "Mozilla/5.0 ()", "Mozilla/5.0 ( )", "Mozilla/5.0 (;)"),
        *("Mozilla/4.0 (compatible;)", "Mozilla/5.0 (compatible)"),
    ],
)
def test_bots(text: str) -> None:
    assert parse_user_agent(text).bot


@pytest.mark.parametrize(
    ("text", "bot"),
    [
        ("Mozilla/5.0 (compatible; Crusader/1.0)", True),
        ("Mozilla/5.0 (compatible;Crusader/1.0)", True),
        ("Mozilla/5.0 (compatible; MSIE 9.0; Windows NT 6.1; Trident/5.0)", False),
        ("Mozilla/5.0 (compatible; Konqueror/4.5; Linux) KHTML/4.5 (like Gecko)", False),
        (
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/99.0"
                " https://x.example"
            ),
            True,
        ),
        (
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko;"
                " Google-Assess) Chrome/99.0"
            ),
            True,
        ),
        (
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/99.0"
                " Safari/537.36"
            ),
            False,
        ),
    ],
)
def test_bots_are_known_by_what_they_call_themselves(text: str, bot: bool) -> None:
    assert parse_user_agent(text).bot is bot
