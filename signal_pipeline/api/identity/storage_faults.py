"""Tells a Redis that refuses Signal from one that is away. Imports no client of Redis."""

from __future__ import annotations

import ssl

# The clients of Redis and of Valkey have the same names for their errors. No text of an error is
# shown: an old Redis repeats the arguments of a command that it does not know, and a login can be
# such a command.
_LOGIN_REFUSED = "Redis refuses its user or its password"
_REFUSALS = {
    "AuthenticationError": _LOGIN_REFUSED,
    "AuthenticationWrongNumberOfArgsError": _LOGIN_REFUSED,
    "AuthorizationError": _LOGIN_REFUSED,
    "NoPermissionError": "Redis does not let its user count: give it the rights in docs/api.md",
    "InvalidResponse": "what answers there is no Redis",
}
# The clients raise ResponseError for each error of Redis that has no class of its own. The errors
# below pass by themselves. Any other ResponseError is the answer to a command that Redis will never
# take.
_PASSING = ("BUSY ", "MISCONF ", "NOREPLICAS ")
_PASSING_IN_SCRIPTS = (*_PASSING, "OOM ", "READONLY ", "LOADING ")


def refusal(error: BaseException) -> str | None:
    """Return what is wrong with a storage that will go on refusing Signal.

    Returns None for an error of a storage that is away, hangs, or cannot count for now.
    """
    name = type(error).__name__
    if name == "ResponseError":
        return _answer(str(error))
    cause = error.__context__
    if isinstance(cause, ssl.SSLCertVerificationError) or (
        # Other errors of TLS can be those of a proxy whose Redis is away.
        isinstance(cause, ssl.SSLError) and cause.reason == "WRONG_VERSION_NUMBER"
    ):
        return "TLS to Redis fails: its certificate, or rediss:// where Redis speaks no TLS"
    return _REFUSALS.get(name)


def _answer(text: str) -> str | None:
    # Before version 7, Redis puts the error of a script's command into a sentence.
    inside_script = text.startswith("Error running script") and any(
        f"-{each}" in text for each in _PASSING_IN_SCRIPTS
    )
    if text.startswith(_PASSING) or inside_script:
        return None
    if text.startswith("DB index"):
        return "Redis has no database of this number"
    return "Redis does not count for its user: give it the rights in docs/api.md"
