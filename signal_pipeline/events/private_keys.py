"""The test of whether a key of a description names personal data (requirement 3.4).

The module compares a key with the lists of `private_words.py`. `private_texts.py` is about values,
and `readings.py` about disguises.

Spelling does not matter: a key is compared after NFKC, in lower case, as letters and digits only,
and also without its digits. `name` is private as a whole key and with a person before it, but not
in `templateName` or `language_name`, which say nothing about a person. Counts and flags pass:
`usersPerTeam`, `isOwner`, `emailVerified`. They are recognised by the words that make up the key.
If a harmless key is taken for a private one, this costs one event, and the drop is counted. So a
word that is in doubt is on a list.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from functools import partial

from signal_pipeline.events import private_words

REMEMBERED_KEYS = 4_096

# No word of the lists is this long.
LONGEST_ENDING = 128


def _words(*lists: str) -> frozenset[str]:
    """Return the words of some lists, with `a{b,c}` written out."""
    return frozenset(
        "".join(parts)
        for word in " ".join(lists).split()
        for parts in itertools.product(*(part.split(",") for part in re.split("[{}]", word)))
    )


def _ends(lists: str, ends: str) -> frozenset[str]:
    """Return every word with every end."""
    return _words(*(f"{word}{{{ends}}}" for word in _words(lists)))


_WHOLE = _ends(" ".join(private_words.WHOLE), ",s") | _ends(
    private_words.NETWORKS, "id,ids,name,account,accounts,sub,oid,login"
)
_WHOLE |= _ends(private_words.PAGES_AT, ",url,urls,link,links,page,uri")
_SENSITIVE = _words(private_words.SENSITIVE)
_ANYWHERE = _words(private_words.ANYWHERE) | _SENSITIVE
_without_harmless = partial(re.compile(private_words.HARMLESS_ANYWHERE).sub, "-")
# The private words by their first four letters, so that only likely ones are compared.
_BY_START = {
    word[:4]: [other for other in _ANYWHERE if other[:4] == word[:4]] for word in _ANYWHERE
}
_AT_THE_END = _ends(
    " ".join(
        [
            private_words.AT_THE_END,
            *_ends(private_words.CODES_OF, "code,pin"),
            *_ends(private_words.LINKS_OF, "link,url,uri,href,linkurl,linkhref"),
            *_ends(
                private_words.NETWORKS,
                "uid,handle,tag,username,profile,profileid,profileurl,profilelink",
            ),
        ]
    ),
    ",s,value,values,hash,hashes",
)
_HARMLESS_AT_THE_END = _words(private_words.HARMLESS_AT_THE_END) | _ends(
    private_words.PIXELS, "coord,coords,coordinate,coordinates"
)
_AT_THE_END -= _HARMLESS_AT_THE_END
_PERSONS = _ends(f"{private_words.ROLES} {private_words.DEEDS}", ",s")
_HARMLESS_PERSONS = _ends(private_words.HARMLESS_ROLES, ",s") | _ends(
    private_words.DONE_BY_THINGS, "edby,edbys"
)
_OWNED = _ends(private_words.OWNED, ",s") | {""}
_SOMEBODY = _PERSONS | _words(private_words.POSSESSIVES)

# A digest is as private as its input, because anyone who can guess the input can check it.
_digest = re.compile(
    f"(?:hashed|encrypted)(.{{1,{LONGEST_ENDING}}})|(.{{1,{LONGEST_ENDING}}}?)(?:{private_words.DIGEST}){{1,3}}"
).fullmatch

# The words that make up a key: `eventsPerUser`, `events_per_user`, `EVENTS-PER-USER`.
_split = re.compile("[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+").findall
# Only a whole word counts: the first word of `USERaVATAR` is not `USE`.
_first_word = re.compile(r"[\W_]*([A-Z]?[a-z]+|[A-Z]+(?![A-Za-z]))").match
_LAST_WORDS = _words(private_words.LAST_WORDS)
_FLAGS = _words(private_words.FLAGS)
_STATES = _words(private_words.STATES)
_COUNTED = _words(private_words.COUNTED)
_WAYS = _words(private_words.WAYS)
_SENT_BY = _words(private_words.SENT_BY)
# Flags, counts and orders whose words run together: `isowner`, `eventsperuser`, `sortbyauthor`.
_compact_flag = re.compile("(?:is|has|total|num|max|min|active)(.+)|.*per(.+)").fullmatch
_is_done = re.compile("is[a-z]{3,}edbys?").fullmatch
_COMPACT_ORDER = ("sortby", "groupby", "orderby", "filterby", "countby")

_NO_DIGITS = {ord(digit): None for digit in "0123456789"}
_harmless: set[str] = set()
_is_plain = re.compile("[A-Za-z_-]{1,32}[0-9]{0,2}").fullmatch


def is_private_key(key: str) -> bool:
    """Return whether a key names personal data, without looking for disguises."""
    if key in _harmless:
        return False
    text = key if key.isascii() else unicodedata.normalize("NFKC", key)
    word = text.lower()
    if not word.isalnum():
        word = "".join(character for character in word if character.isalnum())
    words = [each.lower() for each in _split(text)]
    if _names_personal_data(word, words) and not _counts_or_flags(text, word, words):
        return True
    if len(_harmless) < REMEMBERED_KEYS and _is_plain(key):
        _harmless.add(key)
    return False


def _names_personal_data(word: str, words: list[str]) -> bool:
    if len(words) > 1 and words[-1] in _LAST_WORDS:
        return True
    stem = word.translate(_NO_DIGITS)
    if _is_private_word(stem) or (word != stem and _is_private_word(word)):
        return True
    digest = _digest(stem)
    return digest is not None and _is_private_word(digest[1] or digest[2])


def _is_private_word(word: str) -> bool:
    ends = _ends_of(word)
    return (
        word in _WHOLE
        or word.startswith("gps")
        or _holds_private_word(word)
        or _longest_end_is_private(ends, _AT_THE_END, _HARMLESS_AT_THE_END)
        or any(_is_somebody(word.removesuffix(owned)) for owned in _OWNED.intersection(ends))
        or _is_of_somebody(word, ends)
    )


def _ends_of(word: str) -> list[str]:
    """Return all ends of a word, from the word itself down to the empty text.

    For a very long word, only ends of at most LONGEST_ENDING characters are returned.
    """
    return [word[at:] for at in range(max(0, len(word) - LONGEST_ENDING), len(word) + 1)]


def _longest_end_is_private(
    ends: list[str], private: frozenset[str], harmless: frozenset[str]
) -> bool:
    """Return whether the longest end that is on one of the two lists is private."""
    if private.isdisjoint(ends):
        return False
    return next(end for end in ends if end in private or end in harmless) in private


def _holds_private_word(word: str) -> bool:
    starts = _BY_START.keys() & {word[at : at + 4] for at in range(len(word) - 3)}
    if not starts:
        return False
    rest = _without_harmless(word)
    return any(private in rest for start in starts for private in _BY_START[start])


def _is_somebody(word: str) -> bool:
    ends = _ends_of(word)
    if _longest_end_is_private(ends, _PERSONS, _HARMLESS_PERSONS):
        return True
    return word.endswith(("edby", "edbys")) and _HARMLESS_PERSONS.isdisjoint(ends)


def _is_of_somebody(word: str, ends: list[str]) -> bool:
    """Return whether a word is a person followed by a word that is private as a whole key."""
    return any(word.removesuffix(end) in _SOMEBODY for end in _WHOLE.intersection(ends))


def _counts_or_flags(text: str, word: str, words: list[str]) -> bool:
    """Return whether a key that names personal data is only a flag or a count."""
    if any(sensitive in word for sensitive in _SENSITIVE):
        return False
    flagged = _compact_flag(word)
    if (
        (flagged and (flagged[1] or flagged[2]) in _PERSONS)
        or _is_done(word)
        or word.startswith(_COMPACT_ORDER)
    ):
        return True
    if _says_how_sent(words):
        return True
    rests = []
    if words[:2] == ["number", "of"]:
        rests.append(words[2:])
    if _first_word(text) and (
        words[0] in _FLAGS or (words[0] in _COUNTED and words[-1].endswith("s"))
    ):
        rests.append(words[1:])
    if words[-1:] and words[-1] in _STATES:
        rests.append(words[:-1])
    if "per" in words:
        rests += [words[: words.index("per")], words[words.index("per") + 1 :]]
    # Without the word of the flag, the key must still name personal data: `use_rid` is not a flag,
    # but a user id.
    return any(_names_personal_data("".join(rest), rest) for rest in rests)


def _says_how_sent(words: list[str]) -> bool:
    """Return whether a key says how something was sent, not who sent it: `shareViaEmail`."""
    if len(words) < 3 or words[-1] not in _WAYS:
        return False
    return words[-2] == "via" or (words[-2] == "by" and words[-3] in _SENT_BY)
