"""The test of whether a user agent belongs to a program that no person uses (requirement 3.5).

Refusing a person is worse than counting a bot. Three rules overrule all lists, in this order:
- A user agent that does not look like a browser is a bot.
- A user agent that names a test runner, a headless browser or a crawler is a bot.
- An app's own browser window (Electron, a WebView) is a person's.

Lists of crawlers decide the rest. Their patterns that hit people are left out
(`crawler_patterns.yaml`).
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from operator import attrgetter
from typing import NamedTuple

import crawleruseragents
import msgspec
from ua_parser.loaders import load_lazy_builtins
from ua_parser_rs import DeviceExtractor

from signal_pipeline.events.patterns import (
    Classifier,
    classifier,
    device_detector_list,
    lower_pattern,
)
from signal_pipeline.texts.strict_yaml import parse_yaml

# The shape of a browser's user agent; anything else is a bot. After `Mozilla/5.0` there must be a
# comment that says something. Bots call themselves "compatible"; of the browsers, only those listed
# here ever did so.
_BROWSER_SHAPE = re.compile(
    r"Mozilla/\d+\.\d+\w*(?: ?\[[^\]]*\])? ?\((?!compatible\W*\))"
    r"(?!compatible;(?! ?(?:MSIE|Konqueror|iCab|OmniWeb|NetPositive|Opera|AvantGo|Elaine|Windows"
    r"|Linux|Android)))"
    r"[^)]*?[A-Za-z0-9]{2}"
    r"|Opera[/ ]\d|Dalvik/\d|UCWEB|Nokia|SonyEricsson|SAMSUNG-|SEC-|LG[-/]|MOT-|SIE-|BlackBerry\d"
    r"|HTC[-_/]|ZTE[-/]"
    r"|(?!Mozilla/).*?(?:AppleWebKit/|Gecko/|Presto/|Trident/|MIDP-|CLDC-|Opera Mini/|UP\.Browser/"
    r"|NetFront/|Obigo|Teleca)"
)

# These are bots whatever else the text says. A browser names neither the address of a web page nor
# a service of Google's. Only tests, monitors and crawlers send the other names.
_CERTAIN_BOTS = (
    r"\bhttps?://",
    r"\bGoogle-[A-Z]|\bGoogle(?:AdSense| Page Speed| Search Console)|-Google/\d",
    r"\bgoogle_partner_monitoring|\bgoogleweblight",
    # Test runners, and programs that drive a browser for them
    r"(?i:\b(?:cypress|playwright|puppeteer|selenium|webdriver|testcafe|nightwatch|phantomjs"
    r"|casperjs|slimerjs|zombie(?:\.js)?|jsdom|happy-?dom|htmlunit|agent-novaact|detox|appium)\b)",
    r"Headless(?:Chrome|Firefox|Edg|Shell)|\bPTST\b|\bChrome-Lighthouse|\bwkhtmlto(?:pdf|image)\b",
    # Shells, load generators, scanners
    r"\bWindowsPowerShell/|\bPowerShell/|\bk6/\d|\bGatling/|JMeter|burpcollaborator|\bnode\.js/",
    r"(?i:acunetix|nessus|nikto|sqlmap|\bzgrab)|\bProxyChecker/",
    # Monitors and measuring
    r"Cloudflare(?:Observatory|Diagnostics)|SyntheticsAgent|DatadogSynthetics|NewRelicSynthetics",
    r"\bpageburst\b|\bDejaClick\b|\bCatchpoint\b|PingdomTMS|YottaaMonitor|\biplabel\b|ThousandEyes",
    # The form in which a crawler names itself
    r"(?i:compatible;[^)]*(?:bot|crawler|spider|scraper)\b)",
)
# Words that a bot puts into its own name, as one of the products in the text. They do not count in
# an app's own window: iRobot, Chatbot and CamScanner are apps.
_BOTS_OUTSIDE_APPS = (
    r"(?:[a-z_-]|\b)(?:[Bb]ot|[Cc]rawler|[Ss]pider|[Ss]craper)(?:/| ?\d|[;,) ]*$|; ?\+|\))",
    r"(?i:\b[a-z]*[_.-]?(?:scanner|monitor|checker|classifier)/\d)|[_-]scanner$",
)
# These belong to people, whatever the lists say. Electron is a desktop app that shows a page,
# `; wv)` is Android's WebView, and the third pattern is a WebView of iOS.
_APP_WINDOWS = (
    r" Electron/\d|; wv(?:\)|-)|^Mozilla/5\.0 \(iP[^)]*\) AppleWebKit/[\d.]+ \(KHTML, like Gecko\)"
    r" Mobile/\w+(?: |$)"
)
# An Android device's model and build. These are names that a maker chose, so a word in them says
# nothing about crawlers.
_MODEL = re.compile(
    r"(?:Android|\bAdr )[^)]*?\b[Bb]uild/[^;)]*"
    r"|(?:Android|\bAdr )[^;)]*(?:; ?[a-z]{2}[-_][A-Za-z]{2,4})?;[^;)]*"
)
# These entries hit people (users of CamScanner, Presearch and Daum's apps), because their words are
# in all kinds of names.
_NOT_OF_DEVICE_DETECTOR = frozenset({"Generic Bot", "Daum"})
_SPIDER = "Spider"
_device_pattern = attrgetter("regex", "regex_flag", "family", "brand", "model")


class CrawlerPatterns(msgspec.Struct, forbid_unknown_fields=True):
    """Patterns of crawler-user-agents, each with a reason: see `crawler_patterns.yaml`."""

    left_out: dict[str, str]
    looked_at: dict[str, str]


class _Detectors(NamedTuple):
    """The compiled detectors.

    For a match, `crawler` returns "certain" or "listed". `lower_crawler` takes text in lower case.
    """

    crawler: Classifier
    lower_crawler: Classifier
    spider: DeviceExtractor
    app_window: Classifier


def is_bot(text: str) -> bool:
    """Return whether a user agent of printable ASCII, not blank, belongs to a bot."""
    if _BROWSER_SHAPE.match(text) is None:
        return True
    detectors = _detectors()
    modelless = _without_model(text)
    found = detectors.crawler(modelless) or detectors.lower_crawler(modelless.lower())
    if found is None and detectors.spider.extract(modelless) is not None and _is_spider(text):
        found = "listed"
    return found == "certain" or (found is not None and detectors.app_window(text) is None)


def is_certain_bot(text: str) -> bool:
    """Return whether a text belongs to a bot, whatever the lists of crawlers say."""
    if _BROWSER_SHAPE.match(text) is None:
        return True
    return _detectors().crawler(_without_model(text)) == "certain"


def _without_model(text: str) -> str:
    return _MODEL.sub("Android", text, count=1) if "Android" in text or "Adr " in text else text


def crawler_patterns() -> CrawlerPatterns:
    """Return the decisions about single patterns of the list of crawlers."""
    text = files(__package__).joinpath("crawler_patterns.yaml").read_text(encoding="utf-8")
    return parse_yaml(text).read(CrawlerPatterns, where="crawler_patterns.yaml")


@cache
def _detectors() -> _Detectors:
    """Compile the detectors once, at the first user agent."""
    left_out = crawler_patterns().left_out
    known = [entry["pattern"] for entry in crawleruseragents.CRAWLER_USER_AGENTS_DATA]
    return _Detectors(
        # One pass of the Rust engine over all patterns: 2 us, against 120 us for
        # crawleruseragents' own test.
        crawler=classifier(
            [
                *(("certain", pattern) for pattern in _CERTAIN_BOTS),
                *(("listed", pattern) for pattern in _BOTS_OUTSIDE_APPS),
                *(("listed", pattern) for pattern in known if pattern not in left_out),
            ]
        ),
        lower_crawler=classifier(
            ("listed", lower_pattern(pattern)) for pattern in _device_detector_bots()
        ),
        spider=DeviceExtractor(
            # `pattern[2]` is the family.
            pattern
            for pattern in map(_device_pattern, load_lazy_builtins()[2])
            if pattern[2] == _SPIDER
        ),
        app_window=classifier([("app", _APP_WINDOWS)]),
    )


def _device_detector_bots() -> list[str]:
    entries = device_detector_list("bots.yml")
    return [e["regex"] for e in entries if e["name"] not in _NOT_OF_DEVICE_DETECTOR]


@cache
def _all_devices() -> DeviceExtractor:
    """Compile ua-parser's whole list of devices, which is slow and rarely needed."""
    return DeviceExtractor(map(_device_pattern, load_lazy_builtins()[2]))


def _is_spider(text: str) -> bool:
    """Return whether ua-parser's whole list says Spider.

    One of its Spider patterns also matches a Kindle with Silk, but an earlier pattern of the whole
    list recognises that device.
    """
    device = _all_devices().extract(text)
    return device is not None and device.family == _SPIDER
