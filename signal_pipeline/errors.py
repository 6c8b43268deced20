"""The base of every error that a user of Signal can act on.

Each subclass is beside the code that raises it. Nothing here logs or formats values.
"""

from __future__ import annotations


class SignalError(Exception):
    """An error that a user can act on: its text is one line and holds no private value."""


class UsageError(SignalError):
    """The command line is wrong. The command then exits with status 2."""
