"""From a raw user agent to the little that Signal keeps of it: bot or not, and three coarse
buckets.

Here: cleaning, the bot test, the closed lists of names, the device rule. Not here: what is done
with a bot (`acceptance.py`).

The closed lists are part of the user hash (requirements section 2): moving a family to another
bucket changes the hashes of its users from then on, and a replayed day no longer gives the hashes
it gave live. So does a new release of ua-parser's patterns that changes an answer; both packages
are pinned for that reason. The device type is no part of the hash: a changed rule holds for events
accepted from then on, and there is no version of the rules that a row would carry.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from operator import attrgetter
from typing import NamedTuple

import crawleruseragents
from ua_parser.loaders import load_lazy_builtins

try:
    from ua_parser_rs import DeviceExtractor, OSExtractor, UserAgentExtractor
except ImportError as error:
    # Other backends are up to 40 times slower and answer differently for bots.
    raise ImportError("Signal needs the Rust backend of ua-parser: pip install ua-parser-rs") from error

MAXIMUM_CHARACTERS = 512
CACHED_USER_AGENTS = 4096

UNKNOWN = "unknown"
OTHER = "Other"

_BROWSERS: Mapping[str, tuple[str, ...]] = {
    "Chrome": ("Chrome", "Chrome Mobile", "Chrome Mobile iOS", "Chromium"),
    "Safari": ("Safari", "Mobile Safari"),
    "Firefox": (
        "Firefox",
        "Firefox Mobile",
        "Firefox iOS",
        "Firefox Alpha",
        "Firefox Beta",
        "Iceweasel",
    ),
    "Edge": ("Edge", "Edge Mobile"),
    "Samsung Internet": ("Samsung Internet",),
    "Opera": (
        "Opera",
        "Opera Mobile",
        "Opera Mini",
        "Opera Touch",
        "Opera GX",
        "Opera Coast",
        "Opera Neon",
    ),
    "Brave": ("Brave",),
    "DuckDuckGo": ("DuckDuckGo", "DuckDuckGo Mobile"),
    "Vivaldi": ("Vivaldi",),
    "Yandex Browser": ("Yandex Browser",),
    "UC Browser": ("UC Browser",),
    "Google App": ("Google",),
    "WebView": ("Chrome Mobile WebView", "Mobile Safari UI/WKWebView"),
    "Android Browser": ("Android",),
    "Internet Explorer": ("IE", "IE Mobile", "IE Large Screen"),
}
_DISTRIBUTIONS = (
    *("Ubuntu", "Kubuntu", "Lubuntu", "Debian", "Fedora", "Red Hat", "CentOS", "Gentoo", "SUSE"),
    *("openSUSE", "Slackware", "Arch Linux", "Linux Mint", "Mandriva", "Mageia", "PCLinuxOS"),
    *("Puppy", "BackTrack"),
)
_SYSTEMS: Mapping[str, tuple[str, ...]] = {
    "macOS": ("Mac OS X", "Mac OS"),
    "iOS": ("iOS",),
    "Windows": ("Windows",),
    "Android": ("Android",),
    "Linux": ("Linux", *_DISTRIBUTIONS),
    "ChromeOS": ("Chrome OS",),
}

BROWSER_FAMILIES = (*_BROWSERS, OTHER, UNKNOWN)
OS_FAMILIES = (*_SYSTEMS, OTHER, UNKNOWN)
DEVICE_TYPES = ("desktop", "mobile", "tablet", "tv", "console", UNKNOWN)

_BROWSER_OF = {family: bucket for bucket, families in _BROWSERS.items() for family in families}
_SYSTEM_OF = {family: bucket for bucket, families in _SYSTEMS.items() for family in families}
_MAJOR = re.compile(r"[0-9]{1,4}")
_SPIDER = "Spider"
_device_pattern = attrgetter("regex", "regex_flag", "family", "brand", "model")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")

# What a browser looks like; anything else is a bot. `Mozilla/5.0` must go on with a comment that
# says something; "compatible" is what bots call themselves, and of browsers only these ever did.
_BROWSER_SHAPE = re.compile(
    r"Mozilla/\d+\.\d+\w*(?: ?\[[^\]]*\])? ?\((?!compatible\W*\))"
    r"(?!compatible;(?! ?(?:MSIE|Konqueror|iCab|OmniWeb|NetPositive|Opera|AvantGo|Elaine|Windows|Linux|Android)))"
    r"[^)]*?[A-Za-z0-9]{2}"
    r"|Opera[/ ]\d|Dalvik/\d|UCWEB|Nokia|SonyEricsson|SAMSUNG-|SEC-|LG[-/]|MOT-|SIE-|BlackBerry\d"
    r"|HTC[-_/]|ZTE[-/]"
    r"|(?!Mozilla/).*?(?:AppleWebKit/|Gecko/|Presto/|Trident/|MIDP-|CLDC-|Opera Mini/|UP\.Browser/"
    r"|NetFront/|Obigo|Teleca)"
)

# A browser's user agent names no address of a web page, nor a service of Google; bots do both.
_BOT_RULES = (
    r"\bhttps?://",
    r"\bGoogle-[A-Z]|\bGoogle(?:AdSense| Page Speed| Search Console)|-Google/\d",
)

# A screen's diagonal in inches. Televisions of all makers are named by it: 43UK30G, SW-LED32SB302.
_INCHES = r"(?:19|2[248]|32|39|4[0-389]|50|55|58|65|7[057]|8[256]|98)"

# The first rule that matches decides: a console or a television may also say Android or Windows.
# Rules for Android go by words that makers of many brands put into names, not by a list of models; they read
# `Android[^)]*`, the platform's part, since the name of an app may stand behind it (`Dropbox/3`).
# The Rust engine has no look-around. Hard cases: iPadOS in its default mode says it is a Mac; many
# rare tablets and TV boxes say they are phones.
_DEVICE_RULES = (
    ("console", r"(?i:play ?station|xbox|nintendo|gamepad|steam ?deck|retroid|\bouya\b)|PS[3-5]\)"),
    # Phones and a tablet that have TV in their names
    ("mobile", r"Android.*(?:\bSTV100|\bHTV3\d|\bW-K\d+-TV|[^A-Z]DTV.*Mobile|\bRIVIERA)"),
    ("tablet", r"\bBNTV\d"),
    (
        "tv",
        r"TV(?:[^a-z]|$)|(?i:smart-?tv|viera)|Web0S|NetCast|BRAVIA|AQUOS|Roku|CrKey|Chromecast|MiBOX"
        r"|\bAFT[A-Z0-9]{1,9}\b|CE-HTML|\bOMI/\d|Andr0id|Linux mips|BDPlayer|BrightSign|STB|TiVo",
    ),
    (
        "tv",
        r"Android[^)]*(?:(?:[^re]box|[^m]ebox|Box|BOX)(?:[^a-zA-Z]|$)|(?i:[-_ ](?:stick|shell|4k)[-_ )])|LED[-_]?\d\d)",
    ),
    # Google's branches of Android for televisions: PTT1, QTS2, RTM5
    ("tv", r"Android.* Build/[P-V]T[GMST]\d"),
    (
        "tv",
        r"Android [0-9.]+; (?:[A-Za-z]+[-_ ])*[A-Z]{0,4}[-_]?"
        rf"{_INCHES}(?:[A-Z]{{1,4}}[-_]?[0-9]{{2}}|[A-Z]{{2,4}}[0-9])",
    ),
    # Names under which boxes alone are sold
    (
        "tv",
        r"Android[^)]*\b(?:MXQ|A95X|HK1|(?:X9[26]|H96|T95)(?:[^0-9]|$)"
        r"|(?i:mecool|tanix|ugoos|zidoo|minix|beelink|rombica|vontar))",
    ),
    ("tablet", r"iPad|Tablet(?:$|[^ ]| [^P]| P[^C])|PlayBook|Kindle|\bKF[A-Z]{2,5}\b|hpwOS"),
    # Android on a computer, of which a ThinkPad is one
    (
        "desktop",
        r"Android[^)]*(?:Chrome(?:book|box)|CrosArc|Pixelbook|EliteBook|ProBook|Latitude|Inspiron|Vostro"
        r"|OptiPlex|ThinkPad|Aspire [A-Z]*\d|TravelMate|(?i:satellite))",
    ),
    ("mobile", r"Android[^)]*(?i:coolpad|techpad|klipad|padfone|phonepad)"),
    # Yandex's and Alibaba's apps say /apad, /APad on a tablet; Huawei's tablets without a modem are -W09, -W00
    (
        "tablet",
        r"Android.*(?i:/apad)\b|Android[^)]*(?:(?:[Pp]ad|PAD)(?:[^a-zA-Z]|$)|(?:Tab|TAB|[-_; ]tab)(?:[^a-z]|$|let))",
    ),
    (
        "tablet",
        r"Android[^)]*(?:\bSM-[TXP]\d|\bTB[-0-9]|\bLenovo TB|\bNexus (?:7|9|10)\b|\bMID[-_ ]?\d"
        r"|\b[A-Z][A-Za-z]{2,3}\d?-W[01]\d)",
    ),
    # Some browsers on phones leave out the end, where "Mobile" would stand: its absence says nothing
    ("mobile", r"Android.*MIDP|Android.*(?:Chrome|AppleWebKit)/[0-9.]+$"),
    ("mobile", r"Android.*Mobile|Mobile.*Android"),
    ("tablet", r"Android"),
    (
        "mobile",
        r"Mobi|iPhone|iPod|Opera Mini|MIDP|J2ME|UCWEB|BlackBerry|BB10|Symb|Windows CE|KAIOS|Nokia"
        r"|SonyEricsson|Windows Phone|WPDesktop|Lumia|Palm|webOS/\d|UP\.Browser|NetFront|Obigo|Teleca",
    ),
    ("desktop", r"Windows|Win(?:9|NT)|Macintosh|Mac_PowerPC|X11|Linux|CrOS|BSD|SunOS|CYGWIN"),
)


@dataclass(frozen=True, slots=True)
class UserAgent:
    """What is kept of a user agent: members of BROWSER_FAMILIES, OS_FAMILIES and DEVICE_TYPES, and
    the browser's major version (at most four ASCII digits, or empty).

    `normalised` is the input of the user hash, `browser|major|os`; empty for a missing user agent.
    Of a bot only the buckets are kept, as counts: see `Drop`.
    """

    bot: bool
    browser_family: str
    major: str
    os_family: str
    device_type: str
    normalised: str


_MISSING = UserAgent(False, UNKNOWN, "", UNKNOWN, UNKNOWN, "")


def parse_user_agent(text: str | None) -> UserAgent:
    """The buckets of a raw user agent; never raises. A missing or blank one is not a bot, and
    unknown in everything.

    Only its first 512 characters count, and what is not printable ASCII counts as `?`. Results are
    kept in a bounded cache, whose keys are user agents: `clear_cache` empties it, at midnight UTC.
    """
    return _parse(text[:MAXIMUM_CHARACTERS]) if text else _MISSING


def clear_cache() -> None:
    """Forget every user agent seen so far."""
    _parse.cache_clear()


@lru_cache(maxsize=CACHED_USER_AGENTS)
def _parse(text: str) -> UserAgent:
    text = text.strip()
    if not text:
        return _MISSING
    if not (text.isascii() and text.isprintable()):
        text = _UNPRINTABLE.sub("?", text)
    extractors = _extractors()
    bot = (
        not _BROWSER_SHAPE.match(text)
        or extractors.crawler.extract(text) is not None
        or (extractors.spider.extract(text) is not None and _is_spider(text))
    )
    browser = extractors.browser.extract(text)
    system = extractors.system.extract(text)
    browser_family = UNKNOWN if browser is None else _BROWSER_OF.get(browser.family, OTHER)
    os_family = UNKNOWN if system is None else _SYSTEM_OF.get(system.family, OTHER)
    major = (browser.major if browser else None) or ""
    if not _MAJOR.fullmatch(major):
        major = ""
    normalised = f"{browser_family}|{major}|{os_family}"
    device = extractors.device.extract(text)
    device_type = UNKNOWN if device is None else device.family
    return UserAgent(bot, browser_family, major, os_family, device_type, normalised)


class _Extractors(NamedTuple):
    crawler: UserAgentExtractor
    browser: UserAgentExtractor
    system: OSExtractor
    spider: DeviceExtractor
    device: UserAgentExtractor


@cache
def _extractors() -> _Extractors:
    """Compiled once, at the first user agent: it takes about 0.2 s, which a command that ingests
    nothing need not pay.
    """
    browsers, systems, devices = load_lazy_builtins()
    name_and_version = attrgetter("regex", "family", "major", "minor", "patch", "patch_minor")
    return _Extractors(
        # One pass of the Rust engine over all crawler patterns: 2 us, against 120 us for
        # crawleruseragents' own test.
        crawler=_classifier(
            ("Bot", pattern)
            for pattern in (*_BOT_RULES, *(known["pattern"] for known in crawleruseragents.CRAWLER_USER_AGENTS_DATA))
        ),
        browser=UserAgentExtractor(map(name_and_version, browsers)),
        system=OSExtractor(map(name_and_version, systems)),
        spider=DeviceExtractor(
            # The third field is the family.
            pattern
            for pattern in map(_device_pattern, devices)
            if pattern[2] == _SPIDER
        ),
        device=_classifier(_DEVICE_RULES),
    )


@cache
def _all_devices() -> DeviceExtractor:
    """ua-parser's whole list of devices: slow to compile and to run, and rarely needed."""
    return DeviceExtractor(map(_device_pattern, load_lazy_builtins()[2]))


def _is_spider(text: str) -> bool:
    """Whether ua-parser says Spider. Of a Kindle that says Silk, one of its Spider patterns does,
    but an earlier pattern of the list knows better.
    """
    device = _all_devices().extract(text)
    return device is not None and device.family == _SPIDER


def _classifier(rules: Iterable[tuple[str, str]]) -> UserAgentExtractor:
    """An extractor whose `family` is the fixed name of the first rule (name, pattern) that
    matches.
    """
    return UserAgentExtractor((f"(?:{pattern})", name, None, None, None, None) for name, pattern in rules)
