"""The environments of the processes that Signal starts: each holds what its program needs, and no
secret beyond that.

An environment lasts as long as its process, and whoever may look into the process can read it: an
SQL superuser that of PostgreSQL, a page's author that of a web server. A secret that was rotated
would live on in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

DATABASE_VARIABLE = "SIGNAL_DAGSTER_DATABASE_URL"  # Our `dagster.yaml` reads it.
STARTED_BY = "SIGNAL_STARTED_BY"  # Which command has started a process: `started_processes.py`.

# Where programs, libraries and temporary files are, and how times and texts are written.
_PLAIN = ("PATH", "HOME", "TMPDIR", "TZ", "LANG", "LC_*", "LD_LIBRARY_PATH", "DYLD_*")
# What a person has set for psql, for libpq (the reader's own password too), and for a pager or an
# editor below it.
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
# What only `serve` reads, or only a command that a person runs; the rest of Signal's variables is
# the code location's.
_NOT_OF_RUNS = (
    "SIGNAL_HMAC_SECRET",
    "SIGNAL_API_KEYS",
    "SIGNAL_RATE_LIMIT_URL",
    "SIGNAL_AUDIT_KEY",
)


def postgres_environment() -> dict[str, str]:
    """For the embedded server and the programs that make, start and stop it: no variable of
    Signal's, none of libpq's.
    """
    return _chosen(os.environ, _PLAIN)


def psql_environment() -> dict[str, str]:
    """For a psql on the terminal, and whatever is started from within it."""
    return _chosen(os.environ, (*_PLAIN, *_TERMINAL))


def code_location_environment() -> dict[str, str]:
    """For Dagster's code server and the runs that it starts: they ingest, so that they need the
    salt's secret.
    """
    return {name: value for name, value in os.environ.items() if name not in _NOT_OF_RUNS}


def dagster_environment() -> dict[str, str]:
    """For Dagster's web server and daemon, which ask the code location: its own storage alone.

    What is not Signal's stays: a `dagster.yaml` of the operator's own may read any variable.
    """
    kept = {DATABASE_VARIABLE, STARTED_BY}
    return {
        name: value
        for name, value in os.environ.items()
        if name in kept or not name.startswith("SIGNAL")
    }


def _chosen(environment: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """The variables of these names; a `*` at the end of a name stands for any more letters."""
    whole = {name for name in names if not name.endswith("*")}
    beginnings = tuple(name[:-1] for name in names if name.endswith("*"))
    return {
        name: value
        for name, value in environment.items()
        if name in whole or name.startswith(beginnings)
    }
