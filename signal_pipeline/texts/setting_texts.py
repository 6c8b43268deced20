"""Rules for the text of a setting: readable, not blank, a valid URL, a secret that nobody guesses.

A fault is raised as ValueError without the value, because the value can be a secret.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

# How many different characters a secret must have. Of about 10^19 outputs of
# `openssl rand -hex 32`, one has fewer than 8.
FEWEST_LETTERS = 8
_PLACEHOLDER = re.compile(
    r"change.?(?:me|this|it)\b|place.?holder|replace.?(?:me|this|with)|(?:your|my|some).?(?:secret|key|password)"
    r"|insert.?(?:here|your|secret|key)|openssl"
    r" rand|example.?(?:secret|key)|(?:secret|key|password).?here|<.+>|\$\(|\$\{",
    re.IGNORECASE,
)
_DRIVER_URL = re.compile(r"postgresql\+(\w+)://")
_DRIVER = "psycopg2"  # Dagster's storage works with no other.


def check_text(text: str, *, is_path: bool) -> None:
    """Raise ValueError for a text that no program could use."""
    # A path can hold any bytes.
    if not is_path and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("is not UTF-8 text")
    if not text.strip():
        raise ValueError("is blank: give it a value, or unset it")
    if "\0" in text:
        raise ValueError("holds a NUL character")


def check_database_url(text: str) -> None:
    """Raise ValueError for a text that is neither a URL nor a connection string of libpq."""
    import psycopg  # Slow to import, and everything imports this module.
    from psycopg.conninfo import conninfo_to_dict

    try:
        parts = conninfo_to_dict(text)
    except (psycopg.Error, UnicodeDecodeError):  # The latter is for escapes that are not UTF-8.
        raise ValueError(
            "is not a URL of PostgreSQL: write postgresql://USER@HOST:5432/DATABASE"
        ) from None
    _check_hosts(str(parts.get("host") or ""))
    for port in filter(None, str(parts.get("port") or "").split(",")):
        if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65_536):
            raise ValueError("its port is not a number from 1 to 65535")


def _check_hosts(hosts: str) -> None:
    for host in hosts.split(","):
        if host.startswith(("/", "@")):  # The folder of a socket, or an abstract socket.
            continue
        try:
            host.encode("idna")
        except UnicodeError:
            raise ValueError("its host is neither a name nor an address") from None


def check_dagster_url(text: str) -> None:
    """Raise ValueError for a text that is not a URL of Dagster's storage.

    Such a URL is either what `check_database_url` takes, or a URL for SQLAlchemy that names the
    driver psycopg2.
    """
    driver = _DRIVER_URL.match(text)
    if driver is None:
        check_database_url(text)
        return
    if driver[1] != _DRIVER:
        raise ValueError(
            "its driver is not Dagster's: write postgresql+psycopg2://USER@HOST:5432/DATABASE"
        )
    check_port(text)


def check_port(url: str) -> None:
    """Raise ValueError for a URL whose host or port cannot be read."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a URL: its host or port cannot be read") from None


def check_claim_rule(rule: str) -> None:
    """Raise ValueError for a rule that is not NAME or NAME=VALUE.

    A rule such as `NAME=` would give the role to everybody whose claim is empty.
    """
    name, equals, value = rule.partition("=")
    if not name.strip() or (equals and not value.strip()):
        raise ValueError("is not NAME or NAME=VALUE: a part of it is empty")


def check_secret_text(text: str, least_bytes: int) -> None:
    """Raise ValueError for a secret that is short or that somebody could guess."""
    if len(text.strip().encode()) < least_bytes:
        raise ValueError(f"has fewer than {least_bytes} bytes")
    if _PLACEHOLDER.search(text) or len(set(text)) < FEWEST_LETTERS:
        raise ValueError("is a placeholder, not a secret")
