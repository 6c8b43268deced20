"""The kind of device, one of six, that a user agent comes from.

There are three steps, and the first that answers decides:
1. words that mean one kind, whatever the system is;
2. for Android, the model, looked up in device_detector's list of 17,000 models;
3. words of the system.

Only a list of models can tell a tablet that says "Mobile" from a phone. docs/user-agents.md has the
measurements; docs/decisions.md says why Signal uses the list and not rules of its own.

The device type is not part of the user hash. A changed rule applies to events that are accepted
from then on, and no row carries a version of the rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from typing import Any

from signal_pipeline.events.patterns import (
    Classifier,
    classifier,
    device_detector_list,
    lower_pattern,
)

UNKNOWN = "unknown"
DEVICE_TYPES = ("desktop", "mobile", "tablet", "tv", "console", UNKNOWN)

# Marks of browsers that exist only on iOS. Together with "Macintosh", they mean an iPad that asks
# for desktop sites.
IOS_BROWSERS = r"(?:CriOS|FxiOS|EdgiOS|OPiOS|OPT|GSA)/|\bMobile/[0-9A-Z]"

# A screen's diagonal in inches, which all makers put into the names of televisions: 43UK30G.
_INCHES = r"(?:19|2[248]|32|39|4[0-389]|50|55|58|65|7[057]|8[256]|98)"

# These words decide first, because a console, a television or a headset can also say Android, Linux
# or Windows.
_WORDS = (
    # A headset is none of our kinds, and its browser names a different kind in each of its modes.
    (
        UNKNOWN,
        r"OculusBrowser|PicoBrowser|\bVR Safari|; (?:Mobile )?VR;|\bWolvic|\bVIVE (?:XR|Focus)"
        r"|; Quest(?: [0-9]S?| Pro)?(?: Build/[^;)]*)?[;)]",
    ),
    # HarmonyOS has its own words for what it runs on.
    ("desktop", r"\((?:[^)]*; )?(?i:PC|2in1); ?(?:Open)?Harmony"),
    ("mobile", r"\((?:[^)]*; )?(?i:Phone); ?(?:Open)?Harmony"),
    ("tablet", r"\((?:[^)]*; )?(?i:Tablet); ?(?:Open)?Harmony"),
    ("tv", r"\((?:[^)]*; )?TV; ?(?:Open)?Harmony"),
    (
        "console",
        # All words but "Steam Deck" count only in the part about the platform, because a phone can
        # run an app of that name.
        r"^[^()]*\([^)]*(?i:play ?station|xbox|nintendo|gamepad|retroid|\bouya\b|PS[3-5]\))"
        r"|(?i:steam ?deck)",
    ),
    ("tablet", rf"Macintosh.*(?:{IOS_BROWSERS}|\bSilk/)"),
    # Phones and tablets that have TV in their names
    ("mobile", r"Android.*(?:\bSTV100|\bHTV3\d|\bW-K\d+-TV|\bRIVIERA)"),
    ("tablet", r"\bBNTV\d|\bB[TZ]V-[A-Z]{1,2}[01]\d"),
    (
        "tv",
        # Not DTV, which is in the names of phones with a tuner
        r"(?:^|[^D]|HD)TV(?:[^a-zA-Z-]|$)|(?i:smart-?tv|viera|[- ]tv[;)])|Web0S|NetCast"
        r"|BRAVIA|AQUOS|Roku|CrKey|Chromecast|MiBOX|\bAFT[A-Z0-9]{1,9}\b|CE-HTML|\bOMI/\d|Andr0id"
        r"|Linux mips|BDPlayer|BrightSign|STB|TiVo|HbbTV|GoogleTV|AppleTV|wv-atv|SmartCast",
    ),
    # Google's branches of Android for televisions: PTT1, QTS2, RTM5, STTC
    ("tv", r"Android.* Build/[P-V]T[GMST][0-9C]"),
    (
        "tablet",
        r"iPad|Tablet(?:$|[^ a-z]| [^P]| P[^C])|PlayBook|Kindle|\bKF[A-Z]{2,5}\b"
        r"|hpwOS|PocketBook/|\bKobo\b",
    ),
    # Android on a computer, such as a ThinkPad
    (
        "desktop",
        r"Subsystem for Android|Android[^)]*"
        r"(?:Chrome(?:book|box)|CrosArc|Pixelbook|EliteBook|ProBook|Latitude|Inspiron"
        r"|Vostro|OptiPlex|ThinkPad|Aspire [A-Z]*\d|TravelMate|(?i:satellite)|\bNUC\d|\bPC[;)]"
        r"|\bAIO\b)",
    ),
)

# For the rest: what an Android device says about itself, then the words of other systems.
_SYSTEMS = (
    ("mobile", r"Opera Mini/|Opera Mobi/"),
    (
        "tv",
        r"Android[^)]*(?:(?:[^re]box|[^m]ebox|Box|BOX)(?:[^a-zA-Z]|$)"
        r"|(?i:[-_ ](?:stick|shell|4k)[-_ )])|LED[-_]?\d\d)",
    ),
    (
        "tv",
        r"Android [0-9.]+; (?:[A-Za-z]+[-_ ])*[A-Z]{0,4}[-_]?"
        rf"{_INCHES}(?:[A-Z]{{1,4}}[-_]?[0-9]{{2}}|[A-Z]{{2,4}}[0-9])",
    ),
    ("mobile", r"Android[^)]*(?i:coolpad|techpad|klipad|padfone|phonepad)"),
    # The models of Huawei's tablets without a modem end in -W09 or -W00.
    (
        "tablet",
        r"Android[^)]*(?:(?:[Pp]ad|PAD)(?:[^a-zA-Z]|$)|(?:Tab|TAB|[-_; ]tab)(?:[^a-z]|$|let)"
        r"|\bSM-[TXP]\d|\bTB[-0-9]|\bNexus (?:7|9|10)\b|\bMID[-_ ]?\d"
        r"|\b[A-Z][A-Za-z]{2,3}\d?-W[01]\d)",
    ),
    # Some browsers on phones leave out the end of the text, where "Mobile" would be. The absence of
    # this word then says nothing.
    ("mobile", r"Android.*MIDP|Android.*(?:Chrome|AppleWebKit)/[0-9.]+$"),
    ("mobile", r"Android.*Mobile|Mobile.*Android"),
    # Android without "Mobile" is a tablet. There is no rule for /apad or /APad: Yandex's and
    # Alibaba's apps say it on a tablet, but also on a folding phone.
    ("tablet", r"Android"),
    (
        "mobile",
        r"Mobi|iPhone|iPod|Opera Mini|MIDP|J2ME|UCWEB|BlackBerry|BB10|Symb|Windows CE|KAIOS|Nokia"
        r"|SonyEricsson|Windows Phone|WPDesktop|Lumia|Palm|webOS/\d|UP\.Browser|NetFront|Obigo"
        r"|Teleca",
    ),
    ("desktop", r"Windows|Win(?:9|NT)|Macintosh|Mac_PowerPC|X11|Linux|CrOS|BSD|SunOS|CYGWIN"),
)

# device_detector's kinds of devices in our words. The rest (watches, speakers, cars) is unknown.
_OUR_WORD = {
    "smartphone": "mobile",
    "phablet": "mobile",
    "feature phone": "mobile",
    "portable media player": "mobile",
    "tablet": "tablet",
    "tv": "tv",
    "console": "console",
    "desktop": "desktop",
}
# Chrome on Android hides the model behind this form, so there is no model to look up.
_REDUCED = "; Android 10; K)"


def device_type(text: str) -> str:
    """Return one of DEVICE_TYPES for a user agent of printable ASCII."""
    named = _words()(text)
    if named is not None:
        return named
    if "Android" in text and _REDUCED not in text:
        modelled = _model_type(text)
        if modelled is not None:
            return modelled
    return _systems()(text) or UNKNOWN


def load_models() -> None:
    """Read the list of models and compile its makers' patterns, which takes about half a second.

    Without this call, the first event from an Android model waits for it.
    """
    _brands()


def _model_type(text: str) -> str | None:
    """Return the type of the model that an Android device names.

    For a model that is not in the list, this is the maker's type; None if the text names no maker.
    """
    # Only the part about the platform counts: the names of apps after it are not models.
    lowered = text.partition("AppleWebKit")[0].lower()
    brand = _brands().find(lowered)
    return None if brand is None else brand.type_of(lowered)


class _Brand:
    """A maker: the type of its devices, and its models of another type."""

    def __init__(self, entry: Mapping[str, Any]) -> None:
        self.pattern = lower_pattern(entry["regex"])
        self._type = _our_word(entry)
        self._models = [(_our_word({**entry, **m}), m["regex"]) for m in entry.get("models") or ()]
        self._others = [(kind, regex) for kind, regex in self._models if kind != self._type]

    def type_of(self, lowered: str) -> str:
        """Return the type of the model that a lower-case text names, or else the maker's type."""
        if not self._others or self._find_other(lowered) is None:
            return self._type
        return self._find(lowered) or self._type  # Of all models, the first that matches decides.

    # These two classifiers are compiled at first use, because most makers are never looked up.
    @cached_property
    def _find_other(self) -> Classifier:
        return classifier((kind, lower_pattern(regex)) for kind, regex in self._others)

    @cached_property
    def _find(self) -> Classifier:
        return classifier((kind, lower_pattern(regex)) for kind, regex in self._models)


def _our_word(entry: Mapping[str, Any]) -> str:
    return _OUR_WORD.get(entry.get("device", ""), UNKNOWN)


class _Brands:
    """All makers, in the list's order; a text belongs to the first maker that it names."""

    def __init__(self, brands: Sequence[_Brand]) -> None:
        self._brands = brands
        self._classify = classifier((str(at), brand.pattern) for at, brand in enumerate(brands))

    def find(self, lowered: str) -> _Brand | None:
        """Return the maker that a lower-case text names, if any."""
        at = self._classify(lowered)
        return None if at is None else self._brands[int(at)]


@cache
def _brands() -> _Brands:
    makers = device_detector_list("device", "mobiles.yml")
    return _Brands([_Brand(entry) for entry in makers.values()])


@cache
def _words() -> Classifier:
    return classifier(_WORDS)


@cache
def _systems() -> Classifier:
    return classifier(_SYSTEMS)
