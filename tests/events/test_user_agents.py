"""User agents: bots, closed lists, device types, and hostile input."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.outside import REAL_TRAFFIC, needs

from signal_pipeline.events.browsers import BROWSER_FAMILIES, OS_FAMILIES
from signal_pipeline.events.devices import DEVICE_TYPES
from signal_pipeline.events.user_agents import UserAgent, clear_cache, parse_user_agent

MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/"
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
ANDROID = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "
ANDROID_9 = "Mozilla/5.0 (Linux; Android 9; "
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 "


@pytest.mark.parametrize(
    ("text", "browser", "major", "system", "device"),
    [
        (
            f"{MAC}537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
            *("Chrome", "120", "macOS", "desktop"),
        ),
        (
            f"{MAC}605.1.15 (KHTML, like Gecko) Version/17.1 Safari/605.1.15",
            *("Safari", "17", "macOS", "desktop"),
        ),
        (
            f"{WINDOWS}Chrome/120.0.0.0 Safari/537.36 Edg/120.0.2210.91",
            *("Edge", "120", "Windows", "desktop"),
        ),
        (
            f"{WINDOWS}Chrome/119.0.0.0 Safari/537.36 OPR/105.0.0.0",
            *("Opera", "105", "Windows", "desktop"),
        ),
        (
            "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0",
            *("Firefox", "121", "Linux", "desktop"),
        ),
        (
            (
                "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) "
                "Chrome/120.0.0.0 Safari/537.36"
            ),
            *("Chrome", "120", "ChromeOS", "desktop"),
        ),
        (
            f"{ANDROID}Chrome/120.0.0.0 Mobile Safari/537.36",
            *("Chrome", "120", "Android", "mobile"),
        ),
        (
            f"{ANDROID}Chrome/120.0.0.0 Safari/537.36",
            *("Chrome", "120", "Android", "tablet"),
        ),
        (
            f"{ANDROID}SamsungBrowser/23.0 Chrome/115.0.0.0 Mobile Safari/537.36",
            *("Samsung Internet", "23", "Android", "mobile"),
        ),
        (
            (
                "Mozilla/5.0 (Linux; Android 12; SM-T870) AppleWebKit/537.36 (KHTML, like Gecko) "
                "Chrome/120.0.0.0 Mobile Safari/537.36"
            ),
            *("Chrome", "120", "Android", "tablet"),
        ),
        (
            f"{IPHONE}(KHTML, like Gecko) Version/17.1 Mobile/15E148 Safari/604.1",
            *("Safari", "17", "iOS", "mobile"),
        ),
        (
            f"{IPHONE}(KHTML, like Gecko) CriOS/120.0.6099.50 Mobile/15E148 Safari/604.1",
            *("Chrome", "120", "iOS", "mobile"),
        ),
        (
            f"{IPHONE}(KHTML, like Gecko) GSA/295.0.590 Mobile/15E148 Safari/604.1",
            *("Google App", "295", "iOS", "mobile"),
        ),
        (
            f"{IPHONE}(KHTML, like Gecko) Mobile/15E148",
            *("WebView", "", "iOS", "mobile"),
        ),
        (
            (
                "Mozilla/5.0 (iPad; CPU OS 12_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
                "Gecko) Version/12.1.2 Mobile/15E148 Safari/604.1"
            ),
            *("Safari", "12", "iOS", "tablet"),
        ),
        (
            "Mozilla/5.0 (Android 13; Tablet; rv:121.0) Gecko/121.0 Firefox/121.0",
            *("Firefox", "121", "Android", "tablet"),
        ),
        (
            "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0; Tablet PC 2.0)",
            *("Internet Explorer", "8", "Windows", "desktop"),
        ),
        (
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox One) AppleWebKit/537.36"
                " (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 Edge/44.18363.8131"
            ),
            *("Edge", "44", "Windows", "console"),
        ),
        (
            "Opera/9.80 (Windows NT 6.1; WOW64) Presto/2.12.388 Version/12.16",
            *("Opera", "12", "Windows", "desktop"),
        ),
        (
            "Mozilla/5.0 (X11; Linux i686; rv:20.0) Gecko/20100101 Firefox/20.0 Iceweasel/20.0",
            *("Firefox", "20", "Linux", "desktop"),
        ),
        (
            "Mozilla/5.0 (X11; FreeBSD amd64; rv:109.0) Gecko/20100101 Firefox/115.0",
            *("Firefox", "115", "Other", "desktop"),
        ),
        (
            "Mozilla/5.0 (Windows NT 6.1; rv:26.0) Gecko/20100101 Firefox/26.0 SeaMonkey/2.23",
            *("Other", "2", "Windows", "desktop"),
        ),
        (
            "Mozilla/5.0 (Something; Else)",
            *("unknown", "", "unknown", "unknown"),
        ),
    ],
)
def test_browsers(text: str, browser: str, major: str, system: str, device: str) -> None:
    expected = UserAgent(False, browser, major, system, device, f"{browser}|{major}|{system}")
    assert parse_user_agent(text) == expected
    assert parse_user_agent(f"  {text}\r\n") == expected


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("Mozilla/5.0 (PlayStation; PlayStation 5/2.26) AppleWebKit/605.1.15 Safari", "console"),
        ("Mozilla/5.0 (Nintendo Switch; WifiWebAuthApplet) AppleWebKit/609.4", "console"),
        ("Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 Chrome/94.0 Safari/537.36", "tv"),
        ("Mozilla/5.0 (SMART-TV; LINUX; Tizen 6.0) AppleWebKit/537.36 TV Safari/537.36", "tv"),
        ("Mozilla/5.0 (Linux; Android 9; AFTT) AppleWebKit/537.36 Mobile Safari/537.36", "tv"),
        ("Mozilla/5.0 (Linux; U; en-us; KFAPWI) AppleWebKit/535.19 Silk/3.13 Safari", "tablet"),
        ("Mozilla/5.0 (Windows Phone 10.0; Android 6.0.1) AppleWebKit/537.36 Mobile", "mobile"),
        ("Mozilla/5.0 (BB10; Touch) AppleWebKit/537.10 Version/10.0 Mobile Safari", "mobile"),
        ("Nokia6100/1.0 (04.01) Profile/MIDP-1.0 Configuration/CLDC-1.0", "mobile"),
        # Named by the diagonal of the screen, although they say Mobile or nothing
        (f"{ANDROID_9}43UK30G) AppleWebKit/537.36 Chrome/74.0 Mobile Safari/537.36", "tv"),
        (
            (
                f"{ANDROID_9}SW-LED32SB302 Build/PPR2; wv) AppleWebKit/537.36 Chrome/66.0"
                " Safari/537.36"
            ),
            "tv",
        ),
        (
            (
                f"{ANDROID_9}Chromecast Build/QTS1.210311.008; wv) AppleWebKit/537.36 Mobile"
                " Safari/537.36"
            ),
            "tv",
        ),
        (f"{ANDROID_9}Smart Box G2) AppleWebKit/537.36 Chrome/89.0 Safari/537.36", "tv"),
        (
            f"{ANDROID_9}AFTKMST12) AppleWebKit/537.36 Silk/73.5.7 like Chrome/73.0 Safari/537.36",
            "tv",
        ),
        # Phones and tablets that look like televisions
        (f"{ANDROID_9}STV100-3) AppleWebKit/537.36 Chrome/55.0 Mobile Safari/537.36", "mobile"),
        (f"{ANDROID_9}LG-H968) AppleWebKit/537.36 Chrome/68.0 Mobile Safari/537.36", "mobile"),
        (f"{ANDROID_9}TurboX_Ray) AppleWebKit/537.36 Chrome/80.0 Mobile Safari/537.36", "mobile"),
        (f"{ANDROID_9}BNTV650) AppleWebKit/537.36 Chrome/81.0 Safari/537.36", "tablet"),
        # Tablets that say Mobile, and a maker of phones that is called Pad
        (f"{ANDROID_9}AGM_PAD_P1) AppleWebKit/537.36 Chrome/120.0 Mobile Safari/537.36", "tablet"),
        (f"{ANDROID_9}JDN2-W09) AppleWebKit/537.36 Chrome/97.0 Mobile Safari/537.36", "tablet"),
        (
            (
                f"{ANDROID_9}T30) AppleWebKit/537.36 Chrome/120.0 YaApp_Android/24.12/apad Mobile"
                " Safari/537.36"
            ),
            "tablet",
        ),
        (
            f"{ANDROID_9}Coolpad 3632A) AppleWebKit/537.36 Chrome/80.0 Mobile Safari/537.36",
            "mobile",
        ),
        # Names of apps, after the browser
        (
            f"{ANDROID_9}SM-G960F) AppleWebKit/537.36 Chrome/74.0 Mobile Safari/537.36 Dropbox/3",
            "mobile",
        ),
        (
            f"{ANDROID_9}SM-G960F) AppleWebKit/537.36 Chrome/74.0 Mobile Safari/537.36 Wattpad",
            "mobile",
        ),
        (
            (
                f"{ANDROID_9}SM-G960F) AppleWebKit/537.36 Chrome/74.0 Mobile Safari/537.36 Tab/2"
                " Minix/1"
            ),
            "mobile",
        ),
        (
            (
                f"{ANDROID_9}SM-G960F) AppleWebKit/537.36 Chrome/74.0 Mobile Safari/537.36"
                " SatelliteRadio/2"
            ),
            "mobile",
        ),
        (f"{ANDROID_9}SM-T500) AppleWebKit/537.36 Chrome/74.0 Safari/537.36 Coolpad/1", "tablet"),
        # The end is missing
        (
            (
                f"{ANDROID_9}V2056A; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0"
                " Chrome/77.0.3865.120"
            ),
            "mobile",
        ),
        # Computers with Android, and a console with Linux
        (
            f"{ANDROID_9}Dell Chromebook 11 (3180)) AppleWebKit/537.36 Chrome/76.0 Safari/537.36",
            "desktop",
        ),
        (
            f"{ANDROID_9}Lenovo ThinkPad T480) AppleWebKit/537.36 Chrome/76.0 Safari/537.36",
            "desktop",
        ),
        (
            (
                f"{ANDROID_9}ThinkPad Tablet Build/A400_03) AppleWebKit/537.36 Chrome/76.0"
                " Safari/537.36"
            ),
            "tablet",
        ),
        (f"{ANDROID_9}ASUS Chromebox) AppleWebKit/537.36 Chrome/76.0 Safari/537.36", "desktop"),
        (
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/131.0 Safari/537.36"
                " SteamDeck"
            ),
            "console",
        ),
        (
            (
                "Mozilla/5.0 (Windows NT 10.0; ARM; Lumia 550) AppleWebKit/537.36 Chrome/46.0"
                " Edge/13.1"
            ),
            "mobile",
        ),
    ],
)
def test_device_types(text: str, device: str) -> None:
    parsed = parse_user_agent(text)
    assert (parsed.bot, parsed.device_type) == (False, device)


@pytest.mark.parametrize("text", [None, "", " ", "\t\r\n", "\u00a0", " " * 1000])
def test_a_missing_user_agent_is_no_bot_and_unknown(text: str | None) -> None:
    assert parse_user_agent(text) == UserAgent(False, "unknown", "", "unknown", "unknown", "")


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
    "text",
    [
        "Mozilla/5.0 (X \x1f|y) Fake|Name\x1f/9999 CFNetwork/1 Safari/1",
        f"{MAC}537.36 (KHTML, like Gecko) Chrome/99999999.0 Safari/537.36",
        f"{MAC}537.36 (KHTML, like Gecko) Chrome/١٢٠.0 Safari/537.36",
        "Mozilla/5.0 (X11) " + "a" * 60_000 + "/1.0 CFNetwork/1",
        f"{MAC}\ud800 Chrome/120.0 Safari/537.36",
        f"{MAC}\x00\n Chrome/120.0 Safari/537.36",
        "Mozilla/5.0 (Linux; " + "Android; " * 10_000,
    ],
)
def test_hostile_user_agents_stay_inside_the_closed_lists(text: str) -> None:
    assert_closed(parse_user_agent(text))


def test_a_major_version_has_at_most_four_digits() -> None:
    chrome = f"{MAC}537.36 (KHTML, like Gecko) Chrome/%s.0.0.0 Safari/537.36"
    assert parse_user_agent(chrome % "9999").major == "9999"
    assert parse_user_agent(chrome % "99999").normalised == "Chrome||macOS"


def test_only_the_first_512_characters_count() -> None:
    start = f"{WINDOWS}Chrome/120.0.0.0 Safari/537.36 "
    padded = start.ljust(512, "x")
    assert parse_user_agent(padded + " Googlebot/2.1 OPR/105") == parse_user_agent(padded)
    assert not parse_user_agent(padded).bot
    assert parse_user_agent(start + "Googlebot/2.1").bot


def test_an_unprintable_character_counts_as_a_question_mark() -> None:
    text = f"{WINDOWS}Chrome/120.0.0.0 Safari/537.36 %s end"
    assert parse_user_agent(text % "\u202e") == parse_user_agent(text % "?")


def test_results_do_not_depend_on_the_cache() -> None:
    texts = [f"{WINDOWS}Chrome/{version}.0.0.0 Safari/537.36" for version in range(6_000)]
    first = [parse_user_agent(text) for text in texts]
    clear_cache()
    assert [parse_user_agent(text) for text in texts] == first
    assert {parsed.major for parsed in first} == {str(version) for version in range(6_000)}


fragments = st.sampled_from(
    [
        *("Mozilla/5.0 (", "Windows NT 10.0", "Macintosh", "Android 9", "; ", ") ", "Mobile", "TV"),
        *(
            "AppleWebKit/537.36",
            " Chrome/",
            "120",
            ".0",
            " Safari/1",
            " Edg/9",
            "\x1f",
            "|",
            "iPad",
        ),
        *("Googlebot/2.1", "CFNetwork/1", "١٢", "\ud800", "\n", "X" * 300),
    ]
)


@given(st.text(max_size=600) | st.lists(fragments, max_size=20).map("".join))
def test_any_text_gives_members_of_the_closed_lists(text: str) -> None:
    assert_closed(parse_user_agent(text))


def assert_closed(parsed: UserAgent) -> None:
    assert parsed.browser_family in BROWSER_FAMILIES
    assert parsed.os_family in OS_FAMILIES
    assert parsed.device_type in DEVICE_TYPES
    assert re.fullmatch(r"[0-9]{0,4}", parsed.major)
    parts = f"{parsed.browser_family}|{parsed.major}|{parsed.os_family}"
    assert parsed.normalised in (parts, "")


@needs(REAL_TRAFFIC)
def test_real_traffic_falls_into_plausible_shares() -> None:
    seen: Counter[UserAgent] = Counter()
    with REAL_TRAFFIC.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                seen[parse_user_agent(json.loads(line).get("userAgent"))] += 1
            except ValueError:
                continue
    people = Counter({parsed: count for parsed, count in seen.items() if not parsed.bot})
    bots = seen.total() - people.total()
    assert 0.2 < bots / seen.total() < 0.4
    recognised = sum(n for parsed, n in people.items() if parsed.browser_family != "unknown")
    assert recognised / people.total() > 0.9
    for parsed in seen:
        assert_closed(parsed)


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
