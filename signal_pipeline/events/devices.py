"""Which of six kinds of device a user agent comes from.

Three steps, the first that answers decides: words that mean one kind whatever the system is; for
Android, the model, looked up in device_detector's list of 17,000 models; words of the system.
Only a list of models can tell a tablet that says "Mobile" from a phone: docs/user-agents.md has
the measurements, docs/decisions.md says why the list is used and not our own rules.

The device type is no part of the user hash: a changed rule holds for events accepted from then
on, and no row carries a version of the rules.
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

# Marks of browsers that exist on iOS alone: with "Macintosh", an iPad that asks for desktop sites.
IOS_BROWSERS = r"(?:CriOS|FxiOS|EdgiOS|OPiOS|OPT|GSA)/|\bMobile/[0-9A-Z]"

# A screen's diagonal in inches. Televisions of all makers are named by it: 43UK30G.
_INCHES = r"(?:19|2[248]|32|39|4[0-389]|50|55|58|65|7[057]|8[256]|98)"

# A console, a television or a headset may also say Android, Linux or Windows.
_WORDS = (
    # Headsets are none of our kinds, and their browser says another one in each of its modes.
    (
        UNKNOWN,
        r"OculusBrowser|PicoBrowser|\bVR Safari|; (?:Mobile )?VR;|\bWolvic|\bVIVE (?:XR|Focus)"
        r"|; Quest(?: [0-9]S?| Pro)?(?: Build/[^;)]*)?[;)]",
    ),
    # HarmonyOS says what it runs on in words of its own.
    ("desktop", r"\((?:[^)]*; )?(?i:PC|2in1); ?(?:Open)?Harmony"),
    ("mobile", r"\((?:[^)]*; )?(?i:Phone); ?(?:Open)?Harmony"),
    ("tablet", r"\((?:[^)]*; )?(?i:Tablet); ?(?:Open)?Harmony"),
    ("tv", r"\((?:[^)]*; )?TV; ?(?:Open)?Harmony"),
    (
        "console",
        # In the platform's part: a phone may run an app of that name.
        r"^[^()]*\([^)]*(?i:play ?station|xbox|nintendo|gamepad|retroid|\bouya\b|PS[3-5]\))"
        r"|(?i:steam ?deck)",
    ),
    ("tablet", rf"Macintosh.*(?:{IOS_BROWSERS}|\bSilk/)"),
    # Phones and tablets that have TV in their names
    ("mobile", r"Android.*(?:\bSTV100|\bHTV3\d|\bW-K\d+-TV|\bRIVIERA)"),
    ("tablet", r"\bBNTV\d|\bB[TZ]V-[A-Z]{1,2}[01]\d"),
    (
        "tv",
        # Not DTV, which phones with a tuner have in their names
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
    # Android on a computer, of which a ThinkPad is one
    (
        "desktop",
        r"Subsystem for Android|Android[^)]*"
        r"(?:Chrome(?:book|box)|CrosArc|Pixelbook|EliteBook|ProBook|Latitude|Inspiron"
        r"|Vostro|OptiPlex|ThinkPad|Aspire [A-Z]*\d|TravelMate|(?i:satellite)|\bNUC\d|\bPC[;)]"
        r"|\bAIO\b)",
    ),
)

# What is left: Android by what it says of itself, then the words of other systems.
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
    # Huawei's tablets without a modem are -W09, -W00.
    (
        "tablet",
        r"Android[^)]*(?:(?:[Pp]ad|PAD)(?:[^a-zA-Z]|$)|(?:Tab|TAB|[-_; ]tab)(?:[^a-z]|$|let)"
        r"|\bSM-[TXP]\d|\bTB[-0-9]|\bNexus (?:7|9|10)\b|\bMID[-_ ]?\d"
        r"|\b[A-Z][A-Za-z]{2,3}\d?-W[01]\d)",
    ),
    # Some browsers on phones leave out the end, where "Mobile" would be: its absence says nothing.
    ("mobile", r"Android.*MIDP|Android.*(?:Chrome|AppleWebKit)/[0-9.]+$"),
    ("mobile", r"Android.*Mobile|Mobile.*Android"),
    # Yandex's and Alibaba's apps say /apad, /APad on a tablet, and on a phone that folds.
    ("tablet", r"Android"),
    (
        "mobile",
        r"Mobi|iPhone|iPod|Opera Mini|MIDP|J2ME|UCWEB|BlackBerry|BB10|Symb|Windows CE|KAIOS|Nokia"
        r"|SonyEricsson|Windows Phone|WPDesktop|Lumia|Palm|webOS/\d|UP\.Browser|NetFront|Obigo"
        r"|Teleca",
    ),
    ("desktop", r"Windows|Win(?:9|NT)|Macintosh|Mac_PowerPC|X11|Linux|CrOS|BSD|SunOS|CYGWIN"),
)

# What device_detector calls a device, in our words; the rest (watches, speakers, cars) is unknown.
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
# Chrome's reduced form, which has no model: most of the traffic.
_REDUCED = "; Android 10; K)"


def device_type(text: str) -> str:
    """One of DEVICE_TYPES for a user agent of printable ASCII."""
    named = _words()(text)
    if named is not None:
        return named
    if "Android" in text and _REDUCED not in text:
        modelled = _model_type(text)
        if modelled is not None:
            return modelled
    return _systems()(text) or UNKNOWN


def load_models() -> None:
    """Read and compile the list of models: about half a second, else at the first Android model."""
    _brands()


def _model_type(text: str) -> str | None:
    """The type of the model that an Android device names, or None for one that nobody knows."""
    # The platform's part alone: names of apps behind it are no models.
    lowered = text.partition("AppleWebKit")[0].lower()
    brand = _brands().find(lowered)
    return None if brand is None else brand.type_of(lowered)


class _Brand:
    """One maker: the type of its devices, and the models that are of another type."""

    def __init__(self, entry: Mapping[str, Any]) -> None:
        self.pattern = lower_pattern(entry["regex"])
        self._type = _our_word(entry)
        self._models = [(_our_word({**entry, **m}), m["regex"]) for m in entry.get("models") or ()]
        self._others = [(kind, regex) for kind, regex in self._models if kind != self._type]

    def type_of(self, lowered: str) -> str:
        """The type of the model that a text in lower case names; the maker's for others."""
        if not self._others or self._find_other(lowered) is None:
            return self._type
        return self._find(lowered) or self._type  # The first model of all decides.

    # Compiled when first needed: few makers are.
    @cached_property
    def _find_other(self) -> Classifier:
        return classifier((kind, lower_pattern(regex)) for kind, regex in self._others)

    @cached_property
    def _find(self) -> Classifier:
        return classifier((kind, lower_pattern(regex)) for kind, regex in self._models)


def _our_word(entry: Mapping[str, Any]) -> str:
    return _OUR_WORD.get(entry.get("device", ""), UNKNOWN)


class _Brands:
    """All makers, in the list's order: the first that a text names is its maker."""

    def __init__(self, brands: Sequence[_Brand]) -> None:
        self._brands = brands
        self._classify = classifier((str(at), brand.pattern) for at, brand in enumerate(brands))

    def find(self, lowered: str) -> _Brand | None:
        """The maker that a text in lower case names, if any."""
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
