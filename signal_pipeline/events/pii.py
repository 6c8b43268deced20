"""Does a description hold personal data? (requirements section 3.4)

Here: the list of keys, and the shapes of values. Not here: size and schema of a description
(`acceptance.py`).

A key counts as written by someone who varies spelling: after NFKC, in lower case, letters and
digits only. It is refused if it equals one of `_KEYS`, ends with one of `_ENDINGS` or names somebody
by `_PERSON_KEY` (digits at its end aside), or holds one of `_PARTS`. The words in `_ENDINGS` and
`_PARTS` mean a person whatever stands around them; `name` is not among them, since `templateName` or
`language_name` tell nothing of a person. A key that only sounds personal costs one event, counted;
so when in doubt, a word is on the list.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from html import unescape
from urllib.parse import unquote

_KEY_LISTS = (
    # Names of a person
    "name names login loginid realname legalname screenname displayname initials fname lname forename",
    "forenames usr handle userhandle",
    # Ways to reach or find a person
    "mail mails mailaddress usermail gmail mobile mobileno tel fax msisdn phones phoneno addresses",
    "contactno contactnumber telno telnumber cell cellno cellnumber whatsapp whatsappnumber whatsappid",
    "addr addressline street streetname housenumber zip zipcode postcode postalcode lat lng lon",
    "latitude longitude geolocation gps",
    # Identifiers of a person or a device
    "uid uids deviceid deviceids sessionid sessionids imei imsi idfa gaid advertisingid fingerprint macaddr ip ips ipv ipaddr",
    "clientip remoteip remoteaddr userip hostip realip forwardedfor xforwardedfor ua",
    # Official and financial numbers
    "ssn nationalid taxid taxnumber bic cvv cvc ccnumber accountnumber accountno sortcode",
    "routingnumber",
    # Secrets
    "tokens secrets pass pw pwd psw pin pincode otp otpcode mfacode auth bearer credential credentials cookies",
    "sessionkey",
    # About a person
    "dob birth age gender sex religion ethnicity nationality maritalstatus",
)
_KEYS = frozenset(" ".join(_KEY_LISTS).split())
# A person by the part that they play, one or several; their number (`memberCount`) and kind (`ownerType`) pass.
_PERSON = (
    "(?:user|person|people|author|owner|creator|assignee|contact|customer|member|guest|reviewer|approver"
    "|recipient|receiver|sender|inviter|invitee|requester|uploader|commenter|collaborator|contributor"
    "|participant|attendee|subscriber|follower|employee|actor|student"
    "|(?:created|updated|modified|changed|edited|deleted|removed|added|owned|invited|assigned|reviewed"
    "|approved|published|uploaded|submitted|requested|sent)by|assignedto)s?"
)
# Programs and things too, unless with an id or a name.
_ACCOUNT = "(?:account|profile|client|visitor|editor|manager|admin)s?"
_ID = "(?:id|uid|uuid|guid|identifier|no|number|ref|key)s?"
# An id of a person is one whatever stands before it (`journeyOwnerId`); a role is not (`isOwner`).
_PERSON_KEY = re.compile(f"^{_PERSON}(?:names?)?$|^{_ACCOUNT}(?:names?|{_ID})$|{_PERSON}{_ID}$")
_ENDINGS = ("token", "secret", "cookie", "jwt", "phone", "address", "iban")
_HARMLESS_ENDINGS = ("microphone", "headphone", "earphone", "smartphone", "iphone", "megaphone")
_PARTS = re.compile(
    "email|phonenumber|mobilenumber|telephone|cellphone|firstname|lastname|middlename|maidenname"
    "|givenname|familyname|fullname|surname|nickname|username|useragent|ipaddress"
    # Not `userIdle`, `userIdleTime`, `userIdentified`.
    "|userid(?!le(?:$|[dmst])|entified)"
    "|streetaddress|dateofbirth|placeofbirth|yearofbirth|birthdate|birthday|birthplace|passport"
    "|socialsecurity|driverslicen|driverlicen|creditcard|debitcard|cardnumber|bankaccount"
    "|password|passwd|passphrase|passcode|passkey|apikey|privatekey|secretkey|accesskey"
    "|authori[sz]ation|accesstoken|refreshtoken|sessiontoken|securitycode"
)

# Nothing that is looked for in a text can do without one of these.
_SUSPICIOUS = re.compile(r"[@:.%&\\]|[^\x00-\x7f]")
# Not a picture for a dense screen, such as `icon@2x.png`.
_PICTURE = r"[1-9](?:\.[0-9])?x\.(?:png|jpe?g|gif|webp|avif|svg)(?!\w|[.-]\w)"
_EMAIL = re.compile(rf"[^\s@]@(?!{_PICTURE})(?:[\w-]+[.\u3002])+(?:[^\W\d_]{{2}}|xn--)")
# A key of JSON inside a text, its quotes escaped however often.
_JSON_KEY = re.compile(r'"([^"\\:{}]{1,64})\\*"\s*:')
# A character of HTML, by name or number (as many digits as Python converts), and one of JSON inside JSON.
_REFERENCE = re.compile(r"&(?:#[0-9]{1,4000}|#[xX][0-9A-Fa-f]{1,4000}|[A-Za-z]{2,32});?")
_ESCAPE = re.compile(r"(?<!\\)\\++u([0-9A-Fa-f]{4})")
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
# Not a part of a longer dotted number, such as an object identifier.
_IPV4 = re.compile(rf"(?<![0-9])(?<![0-9]\.){_OCTET}(?:\.{_OCTET}){{3}}(?![0-9])(?!\.[0-9])")
_GROUP = "[0-9A-Fa-f]{1,4}"
_IPV6 = re.compile(
    rf"(?<![0-9A-Fa-f])(?:{_GROUP}:){{7}}{_GROUP}(?![0-9A-Fa-f])"
    # Shortened; letters around it make it a name of a program, as in `std::add`. With two digits on either side
    # it is one too, or a time, as in `a::b` and `10::30`: no address in use begins so.
    rf"|(?<![^\W_])(?![0-9A-Fa-f]{{1,2}}::[0-9A-Fa-f]{{1,2}}(?![0-9A-Fa-f:]))(?:{_GROUP}(?::{_GROUP}){{0,6}}::(?:{_GROUP}(?::{_GROUP}){{0,6}})?"
    rf"|::{_GROUP}(?::{_GROUP}){{0,6}})(?![^\W_])"
)
# A base64url run, followed by two dots as in a JWT; possessive, so that a long run is read once.
_JWT_RUN = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{13,}+(?=\.[A-Za-z0-9_-]*+\.)")
# The first characters of a JSON object in base64: '{"', '{ ', '{' with a line break.
_JWT_HEADER = re.compile(r"(?:eyJ|eyA|ewo|ew0)[A-Za-z0-9_-]{10}")

# How often a text is decoded again: what is still hidden after that, no reader will see either.
_DECODINGS = 3


def holds_pii(value: object) -> bool:
    """Whether a JSON value holds, at any depth, a PII-shaped key, or a text (a key included) with
    an e-mail address, an IP address, a JWT or JSON with such a key anywhere inside; also if
    written in compatibility characters, percent-encoded, or escaped for HTML or JSON.
    """
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, str):
            if _text_holds_pii(current):
                return True
        elif isinstance(current, Mapping):
            if any(_key_holds_pii(key) for key in current if isinstance(key, str)):
                return True
            pending.extend(current.values())
        elif isinstance(current, (list, tuple)):
            pending.extend(current)
    return False


def _text_holds_pii(text: str) -> bool:
    """Whether a text holds an e-mail address, an IP address, a JWT or JSON with a PII-shaped key, as
    it stands or as one of its `readings`.
    """
    if not _SUSPICIOUS.search(text):
        return False
    return any(
        ("@" in form and _EMAIL.search(form)) or holds_address(form) or _holds_jwt(form) or _holds_json_key(form)
        for form in readings(text)
    )


def holds_address(text: str) -> bool:
    """Whether a text holds an IPv4 or IPv6 address, in these very characters."""
    return bool(("." in text and _IPV4.search(text)) or (":" in text and _IPV6.search(text)))


def readings(text: str) -> Iterator[str]:
    """The text itself, and what a reader could take it for: without compatibility and invisible
    characters, percent-decoded, without escapes of HTML and JSON.
    """
    yield text
    for _ in range(_DECODINGS):
        plain = text if text.isascii() else _plain(text)
        decoded = unquote(plain) if "%" in plain else plain
        if "&" in decoded:
            decoded = _REFERENCE.sub(lambda found: unescape(found[0]), decoded)
        if "\\" in decoded:
            decoded = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), decoded)
        if decoded == text:
            return
        if plain not in (text, decoded):
            yield plain
        yield decoded
        text = decoded


def _plain(text: str) -> str:
    """NFKC, without format characters (such as zero-width spaces), with ASCII digits for those of
    any script.
    """
    characters = (
        str(unicodedata.decimal(character)) if character.isdecimal() else character
        for character in unicodedata.normalize("NFKC", text)
        if unicodedata.category(character) != "Cf"
    )
    return "".join(characters)


def _holds_jwt(text: str) -> bool:
    return "." in text and any(_JWT_HEADER.search(run[0]) for run in _JWT_RUN.finditer(text))


def _holds_json_key(text: str) -> bool:
    return '"' in text and any(_is_pii_key(found[1]) for found in _JSON_KEY.finditer(text))


def _key_holds_pii(key: str) -> bool:
    return any(_is_pii_key(form) for form in readings(key)) or _text_holds_pii(key)


def _is_pii_key(key: str) -> bool:
    word = key.lower() if key.isascii() else unicodedata.normalize("NFKC", key).lower()
    if not word.isalnum():
        word = "".join(character for character in word if character.isalnum())
    stem = word.rstrip("0123456789")
    if stem in _KEYS or _PARTS.search(word) or _PERSON_KEY.search(stem):
        return True
    return stem.endswith(_ENDINGS) and not stem.endswith(_HARMLESS_ENDINGS)
