"""Makes text that somebody else wrote (a path, a reason, a route) safe to show on a screen."""

from __future__ import annotations

import logging


def printable(text: str) -> str:
    r"""Escape unprintable characters of a text as `repr` does it: `\x1b`, `\n`, `\u202e`.

    These are control characters, terminal sequences, marks that change the direction of writing,
    invisible characters, and bytes of a file name that are not UTF-8.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escape(letter) for letter in text)


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


class PrintableFormatter(logging.Formatter):
    """Formats log lines with printable messages.

    A traceback stays as it is, because it has many lines.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        """Return the line without its traceback."""
        return printable(super().formatMessage(record))
