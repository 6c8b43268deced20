"""Decides whether a text, exactly as it is written, holds personal data (requirement 3.4).

The module finds only data that a checksum or a fixed form makes certain. It does not look for names
or street addresses, which look like any other words, nor for numbers that could be something else,
such as most phone numbers in national form. `readings.py` removes disguises.
"""

from __future__ import annotations

import re
from functools import cache

# A picture for a dense screen, such as `icon@2x.png`, is not an e-mail address.
_PICTURE = r"[1-9](?:\.[0-9])?x\.(?:png|jpe?g|gif|webp|avif|svg)(?!\w|[.-]\w)"
_EMAIL = re.compile(rf"[^\s@]@(?!{_PICTURE})(?:[\w-]+[.\u3002])+(?:[^\W\d_]{{2}}|xn--)")

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
# Not a part of a longer dotted number, such as an object identifier.
_IPV4 = re.compile(rf"(?<![0-9])(?<![0-9]\.){_OCTET}(?:\.{_OCTET}){{3}}(?![0-9])(?!\.[0-9])")
_GROUP = "[0-9A-Fa-f]{1,4}"
_IPV6 = re.compile(
    # Not a part of a longer chain, such as a fingerprint; a port can follow eight groups.
    r"(?<![0-9A-Fa-f])(?<!(?<![0-9A-Za-z])[0-9A-Fa-f]:)(?<!(?<![0-9A-Za-z])[0-9A-Fa-f]{2}:)"
    rf"(?!(?:[0-9A-Fa-f]{{2}}:){{8}}|(?:{_GROUP}:){{9}})(?:{_GROUP}:){{7}}{_GROUP}(?![0-9A-Fa-f])"
    # The shortened form. Letters around it make it a name in a program, as in `std::add`. With at
    # most two digits on either side it is such a name or a time, as in `a::b` and `10::30`: no
    # address in use begins that way.
    rf"|(?<![^\W_])(?![0-9A-Fa-f]{{1,2}}::[0-9A-Fa-f]{{1,2}}(?![0-9A-Fa-f:]))(?:{_GROUP}(?::{_GROUP}){{0,6}}::(?:{_GROUP}(?::{_GROUP}){{0,6}})?"
    rf"|::{_GROUP}(?::{_GROUP}){{0,6}})(?![^\W_])"
)
_HEX = "[0-9A-Fa-f]"
# Not a part of a longer chain, such as a fingerprint.
_MAC = re.compile(
    rf"(?<![0-9A-Za-z.])(?<!(?<![0-9A-Za-z]){_HEX}{{2}}[:-])"
    rf"(?:{_HEX}{{2}}([:-]){_HEX}{{2}}(?:\1{_HEX}{{2}}){{4}}(?!\1[0-9A-Za-z])"
    rf"|{_HEX}{{4}}(?:\.{_HEX}{{4}}){{2}}(?!\.[0-9A-Za-z]))(?![0-9A-Za-z])"
)

# A run of base64url, followed by two dots as in a JWT. It is possessive, so that a long run is read
# only once.
_JWT_RUN = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{13,}+(?=\.[A-Za-z0-9_-]*+\.)")
# The first characters of a JSON object in base64: '{"', '{ ', '{' with a line break.
_JWT_HEADER = re.compile(r"(?:eyJ|eyA|ewo|ew0)[A-Za-z0-9_-]{10}")

# A query, a fragment with values, and the part before the host. They carry searches, ids and
# passwords.
_QUERY = re.compile(r"(?<!\()\?[\w.~%\[\]+-]{1,64}=[\w%+./~{\[-]")
_URL_PARTS = re.compile(
    r"://(?:[^\s?#]{1,512}\?[\w%\[{=&+-]|[^\s#]{1,512}#[^\s=]{1,128}=\S|[^\s/?#@]{1,256}@)"
)

# E.164 as people write it; `_is_phone` counts the digits. A plus sign right after a word or a
# number, as in `1.2.0+20261123`, does not begin a phone number.
_DIGIT = r"(?:[ ./-]{0,2}\(?[0-9]\)?)"
_PHONE = re.compile(rf"\+(?<![\w.+-]\+) ?[1-9]{_DIGIT}{{6,17}}+(?![0-9])")
_NORTH_AMERICAN = re.compile(
    r"[(2-9](?<![\w.-][(2-9])(?:(?<=\()[2-9][0-9]{2}\) ?|[0-9]{2}-)[2-9][0-9]{2}-[0-9]{4}(?![\w-])"
)
_CARD = re.compile(
    r"[0-9](?<![0-9A-Za-z][0-9])(?<![0-9][.,][0-9])(?:[0-9]{13,18}"
    r"|[0-9]{3}([ ._-])[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?:\1[0-9]{1,3})?"
    r"|[0-9]{3}([ ._-])[0-9]{6}\2[0-9]{4,5})(?![0-9A-Za-z])(?!\.[0-9])"
)
# The first digits and the lengths of each issuer's numbers: Visa, Mastercard, American Express,
# Diners Club, Discover and UnionPay, JCB, Maestro, Mir.
_ISSUED = re.compile(
    r"4(?:[0-9]{15}|[0-9]{18})"
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"
    r"|3[47][0-9]{13}"
    r"|3(?:0[0-59]|[689][0-9])[0-9]{11}"
    r"|(?:6011|64[4-9][0-9]|65[0-9]{2}|62[0-9]{2})[0-9]{12,15}"
    r"|35(?:2[89]|[3-8][0-9])[0-9]{12}"
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3])[0-9]{12}"
    r"|220[0-4][0-9]{12}"
)
# For the checksum: each digit times two, with the digits of the result added up.
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)

_IBAN_START = re.compile(
    r"(?:(?<![0-9A-Za-z-])|(?<=IBAN)|(?<=iban)|(?<=Iban))([A-Za-z]{2})[0-9]{2}(?=[ -]?[0-9A-Za-z])"
)
# The countries of the IBAN registry, each with the length of its numbers.
_IBAN_COUNTRIES = """
    AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27
    DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28
    IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22
    MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24
    SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30
"""
_IBAN_LENGTHS = {entry[:2]: int(entry[2:]) for entry in _IBAN_COUNTRIES.split()}

# Two numbers side by side that are precise enough to find a house, and are not in a longer list.
_PAIR = re.compile(
    r"(?<![0-9A-Za-z.+-])(?<![0-9][,;])(?<![0-9][,;] )"
    r"([+-]?[0-9]{1,3}\.[0-9]{4,15}) ?[,;] ?([+-]?[0-9]{1,3}\.[0-9]{4,15})"
    r"(?![0-9A-Za-z.])(?! ?[,;] ?[+-]?[0-9]+\.[0-9])"
)
# The points of a drawing, which follow `translate(...)`, `scale: ...`, a `viewBox`, or the start of
# a path.
_DRAWN = re.compile(
    r"(?:(?<![A-Za-z])"
    r"(?i:translate|scale|matrix|rotate|skew|viewbox|points|polygon|polyline)(?:3d|[XYZxyz])?"
    r"[\"' :=(\[]{1,6}|(?<![\w'’])M|(?<![\w'’ ])m)"
    r"(?:[0-9.,; +-]|[A-Za-z](?![A-Za-z]))*+"
)
_DEGREES, _MINUTES, _SECONDS = (
    r"[0-9]{1,3} ?[°º˚o]",
    r"[0-9]{1,2}(?:\.[0-9]+)? ?['′’‘´]",
    r"""["″”“]|''|′′|’’""",
)
_IN_DEGREES = re.compile(
    rf"{_DEGREES} ?{_MINUTES}(?: ?[0-9]{{1,2}}(?:[.,][0-9]+)? ?(?:{_SECONDS}))? ?[NSEWnsew](?!\w)"
    rf"|(?<!\w)[NSEWnsew] ?{_DEGREES} ?{_MINUTES}"
    r"|(?<![0-9.])[0-9]{1,3}\.[0-9]{2,} ?[°º˚] ?[NSEWnsew](?!\w)"
)
_NORTH_EAST = re.compile(
    r"(?<![0-9.])[0-9]{1,2}\.[0-9]{2,} ?[NS][ ,;]{1,2}[0-9]{1,3}\.[0-9]{2,} ?[EW](?!\w)"
)
_NAMED = re.compile(
    r"(?<!\w)(?:geo:[+-]?[0-9]{1,2}\.[0-9]{4,},[+-]?[0-9]{1,3}\.[0-9]{4}"
    r"|point *+(?:z *+)?\( *[+-]?[0-9]{1,3}\.[0-9]{4,} +[+-]?[0-9]{1,3}\.[0-9]{4}"
    r"|lat(?:itude)?['\"]? ?[:=] ?['\"]?[+-]?[0-9]{1,2}\.[0-9]"
    r"|(?:tel|phone|telephone|fax|sms|callto|whatsapp)\.? ?: ?\+?"
    r"\(?[0-9](?:[ ./-]?\(?[0-9]\)?){5,}+)",
    re.IGNORECASE,
)

# A user agent, or a part of one that tells much: the version of an engine, or the comment about the
# device. The name of a browser with its version (`Firefox/120.0`) passes, and so does the name of a
# library that sends requests. The pattern begins with a slash or a bracket, since `re` finds these
# fast.
_USER_AGENT = re.compile(
    r"/[0-9](?:(?<=mozilla/.)|(?<=applewebkit/.)|(?<=cfnetwork/.)|(?<=dalvik/.)|(?<=ucweb/.)"
    r"|(?<=hbbtv/.)|(?<=gecko/2)(?=0[0-9]{6})|(?<=safari/.)(?=[0-9]{2,3}\.[0-9])"
    r"|(?<=opera/.)(?=[0-9.]{1,4} ?\())"
    r"|\((?:linux; ?(?:u; ?)?android|android [0-9.]{1,9}; |windows nt [0-9.]{1,9}; |x11; (?:u; )?\w"
    r"|(?:iphone|ipad|ipod(?: touch)?); (?:u; )?(?:cpu|ios) |macintosh; (?:u; )?(?:intel|ppc) )",
    re.IGNORECASE,
)

_NO_SIGNS = str.maketrans("", "", " -._:")
_ANY_DIGIT = re.compile("[0-9]")
_FOUR_DIGITS = re.compile("[0-9]{4}")


def is_private_text(text: str) -> bool:
    """Return whether a text holds personal data that can be recognised for certain.

    That is an e-mail address, an IP or MAC address, a JWT, a query, a URL with a user or with
    values in its fragment, a phone number in international or North American form or after a word
    such as `tel:`, the number of a payment card, an IBAN, coordinates, or a user agent.
    """
    return bool(
        ("@" in text and _EMAIL.search(text))
        or holds_address(text)
        or (
            text.count(".") > 1
            and any(_JWT_HEADER.search(run[0]) for run in _JWT_RUN.finditer(text))
        )
        or ("?" in text and _QUERY.search(text))
        or ("://" in text and _URL_PARTS.search(text))
        or is_user_agent(text)
        or is_private_number(text)
    )


def is_user_agent(text: str) -> bool:
    """Return whether a text holds a user agent, or a part of one that tells much."""
    return ("/" in text or "(" in text) and _USER_AGENT.search(text) is not None


def holds_address(text: str) -> bool:
    """Return whether a text holds an IPv4 or IPv6 address, in exactly these characters."""
    return bool(
        (text.count(".") > 2 and _IPV4.search(text))
        or (("::" in text or text.count(":") > 6) and _IPV6.search(text))
    )


def is_private_number(text: str) -> bool:
    """Return whether a text holds a MAC address, a phone number, a card, an IBAN or coordinates.

    To save time, each is looked for only if the text has the characters that it needs.
    """
    if not _ANY_DIGIT.search(text):
        return False
    points, dashes, colons = text.count("."), text.count("-"), text.count(":")
    return bool(
        (
            (points > 1 or dashes > 4 or colons > 4)
            and any(_is_mac(found[0]) for found in _MAC.finditer(text))
        )
        or (dashes and _NORTH_AMERICAN.search(text))
        or ("+" in text and any(_is_phone(found[0]) for found in _PHONE.finditer(text)))
        or (
            len(text) > 13
            and _FOUR_DIGITS.search(text)
            and (_holds_card(text) or _holds_iban(text))
        )
        or (points > 1 and _holds_place(text))
        or ((colons or "=" in text or "(" in text) and _NAMED.search(text))
        or (not text.isascii() and _IN_DEGREES.search(text))
    )


def is_card(digits: str) -> bool:
    """Return whether digits are the number of a payment card.

    First digits and length must be those of an issuer, and the checksum must be right.
    """
    if not _ISSUED.fullmatch(digits):
        return False
    plain, doubled = digits[-1::-2], digits[-2::-2]
    return (sum(map(int, plain)) + sum(_DOUBLED[int(digit)] for digit in doubled)) % 10 == 0


def _is_mac(found: str) -> bool:
    """Return whether a match is a MAC address.

    With dashes or points it must hold a letter: digits alone are a date or a version.
    """
    return ":" in found or not found.translate(_NO_SIGNS).isdecimal()


def _holds_card(text: str) -> bool:
    return any(is_card(found[0].translate(_NO_SIGNS)) for found in _CARD.finditer(text))


def _holds_place(text: str) -> bool:
    if ("," in text or ";" in text) and _PAIR.search(text):
        pairs = _PAIR.finditer(_DRAWN.sub(" ", text))
        if any(is_place(float(found[1]), float(found[2])) for found in pairs):
            return True
    return _NORTH_EAST.search(text) is not None


def _is_phone(number: str) -> bool:
    """Return whether a number has as many digits as a phone number with its country code.

    A number with a single point is a decimal number, unless a blank follows its plus sign.
    """
    digits = re.sub("[^0-9]", "", number.replace("(0)", ""))
    if number.count(".") == 1 and not number.startswith("+ "):
        return False
    return len(digits) == 11 if digits.startswith("1") else 9 <= len(digits) <= 15


def _holds_iban(text: str) -> bool:
    for start in _IBAN_START.finditer(text):
        length = _IBAN_LENGTHS.get(start[1].upper())
        found = length and _iban_pattern(length).match(text, start.start())
        if found:
            code = found[0].translate(_NO_SIGNS)
            if int("".join(str(int(character, 36)) for character in code[4:] + code[:4])) % 97 == 1:
                return True
    return False


@cache
def _iban_pattern(length: int) -> re.Pattern[str]:
    """Return the pattern of an IBAN of this length.

    It is written in groups of four, or in one piece. In one piece, a blank or a dash can follow the
    check digits.
    """
    fours, rest = divmod(length, 4)
    last = rf"\1[0-9A-Za-z]{{{rest}}}" if rest else ""
    groups = rf"[0-9A-Za-z]{{4}}([ -])[0-9A-Za-z]{{4}}(?:\1[0-9A-Za-z]{{4}}){{{fours - 2}}}{last}"
    return re.compile(
        rf"(?:{groups}|[0-9A-Za-z]{{4}}[ -]?[0-9A-Za-z]{{{length - 4}}})(?![0-9A-Za-z])"
    )


def is_place(first: float, second: float) -> bool:
    """Return whether two numbers can be latitude and longitude, in either order.

    Two numbers of at most 1 are taken for shares, not for a place.
    """
    small, large = sorted((abs(first), abs(second)))
    return small <= 90 and 1 < large <= 180
