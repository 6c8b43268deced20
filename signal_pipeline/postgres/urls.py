"""URLs of PostgreSQL: read by libpq, changed, and written again.

libpq cannot write URLs. SQLAlchemy can, but it writes a space as `+`, which libpq does not read as
a space. Both can read what `write_url` writes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

from signal_pipeline.errors import SignalError

_PLACES = ("user", "password", "host", "port", "dbname")


class DatabaseUrlError(SignalError):
    """A text is neither a URL nor a connection string of PostgreSQL."""


def read_url(url: str) -> dict[str, str]:
    """Return the parts of a URL or connection string, named by libpq's keywords.

    Raises DatabaseUrlError, whose text does not repeat the URL.
    """
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        raise DatabaseUrlError("the URL of a database is not one of PostgreSQL") from None
    return {name: str(value) for name, value in parts.items() if value is not None}


def write_url(parts: Mapping[str, str], scheme: str = "postgresql") -> str:
    """Return the URL that has these parts, which are named by libpq's keywords."""
    rest = {name: value for name, value in parts.items() if name not in _PLACES}
    host, port = parts.get("host", ""), parts.get("port")
    if host.startswith(("/", "@")) or "," in host or "%" in host:
        # A socket, several hosts, and an address with a zone go into the query part of the URL.
        place = ""
        rest = {"host": host, **({"port": port} if port else {}), **rest}
    else:
        place = f"[{host}]" if ":" in host else host
        place += f":{port}" if port else ""
    login = quote(parts.get("user", ""), safe="")
    # Without a user, the colon is still needed: otherwise the password would be read as the user.
    if "password" in parts:
        login += f":{quote(parts['password'], safe='')}"
    at = "@" if login else ""
    query = f"?{urlencode(rest, quote_via=quote, safe='')}" if rest else ""
    return f"{scheme}://{login}{at}{place}/{quote(parts.get('dbname', ''), safe='')}{query}"


def with_database(url: str, name: str) -> str:
    """Return the URL of another database on the same server. Raises DatabaseUrlError."""
    return write_url({**read_url(url), "dbname": name})


def sqlalchemy_url(url: str) -> str:
    """Return a URL of libpq as one for SQLAlchemy, with the driver that Dagster ships with.

    A URL that names a driver stays as it is. Raises DatabaseUrlError.
    """
    if re.match(r"postgresql\+\w+://", url):
        return url
    parts = read_url(url)
    # If the URL names no database, libpq takes the one that has the user's name.
    database = parts.get("dbname") or parts.get("user") or ""
    return write_url({**parts, "dbname": database}, "postgresql+psycopg2")
