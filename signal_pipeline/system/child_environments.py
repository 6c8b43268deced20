"""The environment for each process that Signal starts: what its program needs, and no other secret.

A process keeps its environment for life, and anyone who can look into the process can read its
environment. An SQL superuser can read PostgreSQL's, and code in a web server can read the web
server's. Even a secret that has been replaced would live on in such an environment. The settings
are read whatever the case of a variable's name, so the case does not matter here either.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import resource_tracker

DATABASE_VARIABLE = "SIGNAL_DAGSTER_DATABASE_URL"  # Our `dagster.yaml` reads it.
STARTED_BY = "SIGNAL_STARTED_BY"  # Which command started the process: see `started_processes.py`.

# Where programs, libraries and temporary files are, and how times and texts are written.
_PLAIN = ("PATH", "HOME", "TMPDIR", "TZ", "LANG", "LC_*", "LD_LIBRARY_PATH", "DYLD_*")
# What a person has set for psql, for libpq (the reader's own password too), and for a pager or an
# editor that psql starts.
_TERMINAL = (
    *(
        "TERM*",
        "COLORTERM",
        "NO_COLOR",
        "COLUMNS",
        "LINES",
        "SHELL",
        "USER",
        "LOGNAME",
        "XDG_*",
        "INPUTRC",
    ),
    *("PG*", "PSQL*", "PAGER", "LESS*", "EDITOR", "VISUAL"),
)
# Only `serve`, or a command that a person runs, reads these. The code location gets all other
# variables of Signal.
_NOT_FOR_CODE_LOCATION = (
    "SIGNAL_HMAC_SECRET",
    "SIGNAL_API_KEYS",
    "SIGNAL_RATE_LIMIT_URL",
    "SIGNAL_AUDIT_KEY",
)


def postgres_environment() -> dict[str, str]:
    """Return the environment of the embedded PostgreSQL and of the programs that manage it.

    It holds no variable of Signal and none of libpq.
    """
    return _select(os.environ, _PLAIN)


def psql_environment() -> dict[str, str]:
    """Return the environment of a psql on the terminal, and of the programs that it starts."""
    return _select(os.environ, (*_PLAIN, *_TERMINAL))


def code_location_environment() -> dict[str, str]:
    """Return the environment of Dagster's code server and of the runs that it starts.

    The runs ingest, so they need the salts' secret.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if name.upper() not in _NOT_FOR_CODE_LOCATION
    }


def dagster_environment() -> dict[str, str]:
    """Return the environment of Dagster's web server and daemon, without Signal's secrets.

    Of Signal's variables it keeps the URL of Dagster's own storage, and `SIGNAL_STARTED_BY`.
    The web server and the daemon ask the code location for everything else. Variables that are not
    Signal's stay, because an operator's own `dagster.yaml` can read any of them.
    """
    kept = {DATABASE_VARIABLE, STARTED_BY}
    return {
        name: value
        for name, value in os.environ.items()
        if name in kept or not name.upper().startswith("SIGNAL")
    }


def start_resource_tracker() -> None:
    """Start the helper process of `multiprocessing` without any secret, unless it already runs.

    Otherwise `multiprocessing` starts the helper together with the first child process, or with the
    next one if the helper has died. The helper then gets the whole environment.
    """
    with _plain_environment():
        resource_tracker.ensure_running()


@contextmanager
def _plain_environment() -> Iterator[None]:
    """Hide all variables but those of `_PLAIN` from our own environment, within the context.

    It is for programs whose environment cannot be chosen. No other thread may read the environment
    meanwhile.
    """
    plain = _select(os.environ, _PLAIN)
    hidden = {name: value for name, value in os.environ.items() if name not in plain}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ |= hidden


def _select(environment: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Return the variables with these names; a `*` at the end of a name matches any ending."""
    whole = {name for name in names if not name.endswith("*")}
    beginnings = tuple(name[:-1] for name in names if name.endswith("*"))
    return {
        name: value
        for name, value in environment.items()
        if name in whole or name.startswith(beginnings)
    }
