"""The browser and the system that a user agent names, as members of closed lists.

The names and the major version are inputs of the user hash (requirement 2.3). A change that moves a
family to another bucket, or reads another version, changes the hashes of its users: a replayed day
then no longer gives the hashes that it gave live. Every such change is therefore a new version of
HASH_RULES, and so is a new release of ua-parser's patterns.

A day records the versions that hashed it. A day with two versions is marked, since its users are
over-counted. `names` recomputes earlier versions that used the same patterns. A version that was
made by other patterns cannot be recomputed, and `user_agents.hash_inputs` must leave it out.

Version 2 (0.2.0), against version 1 (0.1.0):
- a browser that states its version without a minor (`FxiOS/149`, `Chrome/148`) is recognised;
- a browser of iOS that asks for desktop sites (`Macintosh` with `CriOS/`) runs on iOS;
- WebKit that names no browser (on a Mac, an Apple TV, a PlayStation) is a WebView without a
  version, where ua-parser says Apple Mail and reads WebKit's version;
- native HarmonyOS (`OpenHarmony`) is a recognised system: Other, whatever else the text says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from operator import attrgetter
from typing import NamedTuple

from ua_parser.loaders import load_lazy_builtins
from ua_parser_rs import OSExtractor, UserAgentExtractor

from signal_pipeline.events.devices import IOS_BROWSERS
from signal_pipeline.events.patterns import Classifier, classifier

HASH_RULES = 2

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

_BROWSER_OF = {family: bucket for bucket, families in _BROWSERS.items() for family in families}
_SYSTEM_OF = {family: bucket for bucket, families in _SYSTEMS.items() for family in families}
_MAJOR = re.compile(r"[0-9]{1,4}")
# ua-parser recognises most of these only with a minor version.
_VERSIONED = (
    r"(FxiOS|CriOS|EdgiOS|EdgA|Edge?|OPiOS|OPR|OPT|OPX|GSA|Version|Chrome|Chromium|Firefox"
    r"|SamsungBrowser|YaBrowser|UCBrowser|Vivaldi|Brave|DuckDuckGo|Ddg)"
)
_WITHOUT_MINOR = re.compile(rf"\b{_VERSIONED}/([0-9]{{1,4}})(?=[ ;)]|$)")
_IOS_ON_MACINTOSH = re.compile(rf"Macintosh.*(?:{IOS_BROWSERS})")
_BARE_WEBKIT = "Apple Mail"  # ua-parser's name for WebKit that names no browser.


class Names(NamedTuple):
    """Members of BROWSER_FAMILIES and OS_FAMILIES, and a major version of at most four digits."""

    browser_family: str
    major: str
    os_family: str

    @property
    def normalised(self) -> str:
        """Return the input of the user hash, `browser|major|os`."""
        return f"{self.browser_family}|{self.major}|{self.os_family}"


def names(text: str, rules: int = HASH_RULES) -> Names:
    """Return the names in a user agent of printable ASCII, by the given version of the rules."""
    extractors = _extractors()
    if rules > 1 and extractors.without_minor(text) is not None:
        text = _WITHOUT_MINOR.sub(r"\1/\2.0.0", text)
    browser, system = extractors.browser.extract(text), extractors.system.extract(text)
    family = major = system_family = None
    if browser is not None:
        family, major = browser.family, browser.major
    if system is not None:
        system_family = system.family
    if rules > 1:
        if family == _BARE_WEBKIT:
            family, major = "Mobile Safari UI/WKWebView", ""
        if "OpenHarmony" in text:
            system_family = "OpenHarmony"
        elif "Macintosh" in text and _IOS_ON_MACINTOSH.search(text):
            system_family = "iOS"
    return Names(
        UNKNOWN if family is None else _BROWSER_OF.get(family, OTHER),
        major if major and _MAJOR.fullmatch(major) else "",
        UNKNOWN if system_family is None else _SYSTEM_OF.get(system_family, OTHER),
    )


class _Extractors(NamedTuple):
    browser: UserAgentExtractor
    system: OSExtractor
    without_minor: Classifier


@cache
def _extractors() -> _Extractors:
    """Compile the extractors at the first user agent, so that other commands do not pay for it."""
    browsers, systems, _ = load_lazy_builtins()
    name_and_version = attrgetter("regex", "family", "major", "minor", "patch", "patch_minor")
    return _Extractors(
        browser=UserAgentExtractor(map(name_and_version, browsers)),
        system=OSExtractor(map(name_and_version, systems)),
        without_minor=classifier([("found", rf"\b{_VERSIONED}/[0-9]{{1,4}}(?:[ ;)]|$)")]),
    )
