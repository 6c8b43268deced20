"""PostgreSQL's URLs in the forms that other programs need."""

from __future__ import annotations

import re
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict

from signal_pipeline.errors import SignalError


class UrlError(SignalError):
    """A URL is not one of PostgreSQL; the text does not repeat it."""


def dagster_url(url: str, name: str | None = None) -> str:
    """Return a libpq URL in the form that Dagster's storage needs.

    The result is for the database `name`, or without a name for the URL's own database, and names
    the driver that Dagster ships with. A URL that names a driver stays as it is. Raises
    UrlError for a text that is neither a URL nor a connection string of libpq.
    """
    if re.match(r"postgresql\+\w+://", url):
        return url
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        raise UrlError("a database URL of Signal's or Dagster's is not one of PostgreSQL") from None
    database = name or parts.get("dbname") or parts.get("user") or ""
    login = ":".join(_quoted(parts[part]) for part in ("user", "password") if part in parts)
    host = str(parts.get("host", ""))
    # A socket's folder or several hosts go into the query part of the URL.
    in_front = not host.startswith("/") and "," not in host
    place = ""
    if in_front:
        place = f"[{host}]" if ":" in host else host
        place += f":{parts['port']}" if "port" in parts else ""
    rest = {
        key: value
        for key, value in parts.items()
        if key not in ("user", "password", "dbname") and not (in_front and key in ("host", "port"))
    }
    query = "&".join(f"{key}={_quoted(value)}" for key, value in rest.items())
    at, asks = "@" if login else "", "?" if query else ""
    return f"postgresql+psycopg2://{login}{at}{place}/{_quoted(database)}{asks}{query}"


def _quoted(value: object) -> str:
    return quote(str(value), safe="")
