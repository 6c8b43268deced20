"""Who is a bot.

People in apps and on any maker's phones are not; programs that name themselves are.
"""

from __future__ import annotations

import re

import crawleruseragents  # type: ignore[import-untyped]
import pytest
from support.outside import needs

from faults.accuracy import LABELS, read_labels
from signal_pipeline.events.bots import crawler_patterns, is_certain_bot
from signal_pipeline.events.user_agents import parse_user_agent

needs_labels = needs(LABELS)
DESKTOP = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) "
WEBVIEW = (
    "AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/142.0.7444.102 Mobile Safari/537.36"
)
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like"
    " Gecko) "
)
CRAWLERS = crawleruseragents.CRAWLER_USER_AGENTS_DATA
# A pattern with such a word says what it finds.
SAYS_WHAT_IT_IS = re.compile(
    "bot|crawl|spider|scan|check|monitor|preview|scrap|uptime", re.IGNORECASE
)


@pytest.mark.parametrize(
    "text",
    [
        # A maker's build numbers and models, however a list of crawlers judges them
        f"Mozilla/5.0 (Linux; Android 15; CPH2653 Build/AP3A.240617.008; wv) {WEBVIEW}",
        f"Mozilla/5.0 (Linux; Android 15; RMX5250 Build/AP3A.240617.008) {WEBVIEW}",
        (
            f"Mozilla/5.0 (Linux; U; Android 15; zh-cn; PHP110 Build/AP3A.240617.008) {WEBVIEW}"
            " MQQBrowser/16.3"
        ),
        f"Mozilla/5.0 (Linux; Android 4.4.2; HTCButterflys901s Build/KOT49H) {WEBVIEW}",
        f"Mozilla/5.0 (Linux; U; Android 2.3;en-us; ViewSonic-ViewPad7e build/ERE27) {WEBVIEW}",
        f"Mozilla/5.0 (Linux; Android 7.0; M bot 51) {WEBVIEW}",
        f"Mozilla/5.0 (Linux; Android 6.0; CUBOT_NOTE_S Build/MRA58K; wv) {WEBVIEW}",
        f"Mozilla/5.0 (Linux; Android 13; Yeti Crawler Pro; Build/TP1A) {WEBVIEW}",
        (
            "UCWEB/2.0 (MIDP-2.0; U; Adr 10; en-US; CUBOT P30) U2/1.0.0 UCMini/12.12.10.1227"
            " U2/1.0.0 Mobile"
        ),
        # In-app browsers
        (
            f"Mozilla/5.0 (Linux; Android 16; Pixel 10 Build/CP1A.260305.018; wv) {WEBVIEW} MetaIAB"
            " Facebook"
        ),
        f"Mozilla/5.0 (Linux; Android 7.1.2; G011A Build/N2G48H; wv) {WEBVIEW} Viber/11.9.5.8",
        f"Mozilla/5.0 (Linux; Android 9; SM-A530F Build/PPR1; wv) {WEBVIEW} CamScanner/6.27.0",
        (
            f"Mozilla/5.0 (Linux; Android 9; SM-A530F Build/PPR1; wv) {WEBVIEW}"
            " SogouMSE,SogouMobileBrowser/5.28"
        ),
        (
            f"Mozilla/5.0 (Linux; Android 14; SM-S911B; wv) {WEBVIEW} SomeFutureApp/1.0"
            " LinkPreviewFetcher"
        ),
        f"{IPHONE}Mobile/15E148 MetaIAB Facebook",
        f"{IPHONE}Mobile/15E148 Instagram 406.0.0.58.159",
        f"{IPHONE}Mobile/15E148 Viber/24.1",
        f"{IPHONE}Mobile/15E148 Chatbot/2.0",
        f"Mozilla/5.0 (Linux; Android 14; SM-S911B; wv) {WEBVIEW} iRobot/7.1",
        f"{MAC}QtWebEngine/5.6.0 Chrome/45.0.2454.101 Safari/537.36 Viber",
        # Desktop shells
        f"{DESKTOP}Code/1.117.0 Chrome/142.0.7444.265 Electron/39.8.7 Safari/537.36",
        f"{DESKTOP}Trae/1.107.1 Chrome/142.0.7444.235 Electron/39.2.7 Safari/537.36",
        f"{MAC}Notion/4.2.0 Chrome/130.0.6723.191 Electron/33.3.0 Safari/537.36",
        (
            f"{DESKTOP}Slack/4.4.2 Chrome/78.0.3904.130 Electron/7.2.1 Safari/537.36 Sonic"
            " Slack_SSB/4.4.2"
        ),
        f"{DESKTOP}Cursor/1.2 Chrome/130.0.0.0 Electron/33.0.0 Safari/537.36",
        (
            f"{MAC}Superhuman/25.1.6 Chrome/114.0.5735.289 Electron/25.9.0 Safari/537.36 (via"
            " SuperhumanProxy)"
        ),
        # Browsers whose makers also have crawlers
        f"{DESKTOP}Chrome/49.0.2623.221 Safari/537.36 SE 2.X MetaSr 1.0",
        f"{MAC}Chrome/130.0.0.0 Safari/537.36 Freespoke/1.0",
    ],
)
def test_people_are_no_bots(text: str) -> None:
    assert not parse_user_agent(text).bot


@pytest.mark.parametrize(
    "text",
    [
        # Test runners, and programs that drive a browser for them
        f"{MAC}Cypress/3.8.1 Chrome/78.0.3904.130 Electron/7.1.4 Safari/537.36",
        f"{DESKTOP}Chrome/120.0.0.0 Safari/537.36 Playwright/1.40.0",
        f"{DESKTOP}HeadlessChrome/120.0.0.0 Safari/537.36",
        "Mozilla/5.0 (linux) AppleWebKit/537.36 (KHTML, like Gecko) jsdom/26.1.0",
        "Mozilla/5.0 (X11; Linux x64) AppleWebKit/537.36 (KHTML, like Gecko) HappyDOM/18.0.1",
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/115.0"
            " Agent-NovaAct/0.9"
        ),
        f"{MAC}PhantomJS/2.1.1 Safari/538.1",
        f"{DESKTOP}wkhtmltopdf Safari/534.34",
        # Shells
        "Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.19041.1682",
        "Mozilla/5.0 (Windows NT 10.0; Microsoft Windows 10.0.15063; en-US) PowerShell/6.0.0",
        # Monitors and measuring programs
        f"{MAC}Chrome/109.0.0.0 Safari/537.36 CloudflareObservatory/1.0",
        f"{MAC}Chrome/67.0.3396.99 Safari/537.36 CloudflareDiagnostics/1.0",
        f"{DESKTOP}Chrome/120.0.0.0 Safari/537.36 SyntheticsAgent",
        f"{DESKTOP}Chrome/120.0.0.0 Safari/537.36 DejaClick/2.9.1",
        (
            f"{DESKTOP}browser/2020.2.1 Chrome/78.0.3904.130 Electron/7.3.2 Safari/537.36"
            " PingdomTMS/2020.2"
        ),
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko; compatible;"
            " pageburst) Chrome/98.0"
        ),
        # A crawler on a phone that it names
        (
            "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML,"
            " like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36 (compatible; Somebot/2.1)"
        ),
        (
            "Mozilla/5.0 (Linux; Android 5.0.1; Nexus 6 Build/LRX22C; Catchpoint)"
            " AppleWebKit/537.36 Chrome/40.0"
        ),
        f"{IPHONE}Mobile/15E148 (compatible; ExampleSpider/1.0)",
        "Sogou web spider/4.0(+http://www.sogou.com/docs/help/webmasters.htm#07)",
    ],
)
def test_programs_are_bots(text: str) -> None:
    assert parse_user_agent(text).bot


@needs_labels
def test_no_pattern_of_the_lists_hits_labelled_people() -> None:
    """A new release that brings such a pattern fails here.

    Leave the pattern out, by name and with the reason.
    """
    people = [item.text for item in read_labels() if item.kind == "person"]
    refused = [text for text in people if parse_user_agent(text).bot]
    assert len(people) > 16_000
    assert refused == []


@needs_labels
def test_labelled_bots_are_found() -> None:
    bots = [item.text for item in read_labels() if item.kind == "bot"]
    found = sum(parse_user_agent(text).bot for text in bots)
    assert found / len(bots) >= 0.98


def test_each_pattern_with_a_browsers_shape_was_looked_at() -> None:
    """Some patterns hit browsers of their own list.

    Somebody has to decide whether these are people.
    """
    decided = crawler_patterns()
    like_browsers = {
        crawler["pattern"]
        for crawler in CRAWLERS
        for example in crawler["instances"]
        if example.strip() and not is_certain_bot(example)
    }
    unknown = {pattern for pattern in like_browsers if not SAYS_WHAT_IT_IS.search(pattern)}
    assert sorted(unknown - decided.left_out.keys() - decided.looked_at.keys()) == []


def test_each_decided_pattern_is_on_the_list() -> None:
    """A pattern that a new release has dropped or changed must be decided anew."""
    decided = crawler_patterns()
    listed = {crawler["pattern"] for crawler in CRAWLERS}
    assert sorted({*decided.left_out, *decided.looked_at} - listed) == []
    assert decided.left_out.keys().isdisjoint(decided.looked_at)


def test_the_lists_own_examples_are_bots_but_for_those_left_out() -> None:
    """A wrongly built matcher would miss most of them."""
    left_out = crawler_patterns().left_out
    examples = {
        example: crawler["pattern"]
        for crawler in CRAWLERS
        for example in crawler["instances"]
        if len(example) <= 512 and example.strip()
    }
    missed = {pattern for example, pattern in examples.items() if not parse_user_agent(example).bot}
    assert len(examples) > 1_000
    assert missed - left_out.keys() == set()
