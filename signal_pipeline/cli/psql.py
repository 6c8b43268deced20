"""The command `sql`: opens psql as the login `signal_reader`, or prints the URL for it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import typer
from psycopg import pq

from signal_pipeline.cli import console
from signal_pipeline.cli.options import Json
from signal_pipeline.errors import SignalError
from signal_pipeline.postgres.database import Database, open_database
from signal_pipeline.postgres.urls import read_url, write_url
from signal_pipeline.settings import Settings, load_settings
from signal_pipeline.system.child_environments import psql_environment

ROLE = "signal_reader"
LIFETIMES = {
    "with its server": "the URL works as long as the server of SIGNAL_DATABASE_URL runs",
    "with its users": (
        "the URL works until the last process that uses the embedded PostgreSQL ends; another"
        " process uses it now"
    ),
    "with this command": (
        "the URL stops working now: this command is the last process that uses the embedded"
        " PostgreSQL, which stops with it. Keep it up with `signal-pipeline dev` or"
        " `signal-pipeline serve`, or run `signal-pipeline sql` on a terminal for a psql"
    ),
}
# The environment variable for each part of a URL, from libpq's own list. psql gets each part that
# has a variable, such as an option of TLS.
_VARIABLES = {
    option.keyword.decode(): option.envvar.decode()
    for option in pq.Conninfo.get_defaults()
    if option.envvar
}
# The parts of a URL that are secrets: those that the same list calls passwords, and two more with
# which one can log in.
_SECRETS = {"scram_client_key", "scram_server_key"} | {
    option.keyword.decode() for option in pq.Conninfo.get_defaults() if option.dispchar == b"*"
}
_UNLOCKS_KEY = "sslpassword"


class ReaderError(SignalError):
    """The server does not let the reader log in; the text says what to do."""


def sql(as_json: Json = False) -> None:
    """Open psql as the role that reads only the views of `signal_reporting`.

    Without a terminal or psql, or with --json, prints the URL of that role.
    """
    settings = load_settings()
    database = open_database(settings)
    url = reader_url(database)
    if _UNLOCKS_KEY in read_url(database.url):
        console.say(
            f"the URL lacks {_UNLOCKS_KEY}, the password of the TLS key: add it, or give the"
            " reader a key without a password"
        )
    terminal = console.is_terminal(sys.stdin) and console.is_terminal(sys.stdout)
    if terminal and not as_json and (code := open_psql(url)) is not None:
        raise typer.Exit(code)
    lives = url_lifetime(settings)
    console.say(LIFETIMES[lives])
    if as_json:
        console.print_json({"url": url, "lives": lives})
    else:
        sys.stdout.write(url + "\n")


def reader_url(database: Database) -> str:
    """Return the URL with which the reader itself connects.

    It holds no password, not even that of a TLS key. libpq takes the reader's password from
    `PGPASSWORD` or `~/.pgpass`. The configured login would not do. Even after `set role
    signal_reader`, a `set role none` would give that login's rights back.

    Raises ReaderError if the reader cannot log in, and DatabaseError if nobody can.
    """
    parts = read_url(database.url)
    shown = {name: value for name, value in parts.items() if name not in _SECRETS}
    reader = write_url({**shown, "user": ROLE})
    # Without its password, the TLS key could not be read.
    key = {name: value for name, value in parts.items() if name == _UNLOCKS_KEY}
    try:
        with psycopg.connect(write_url({**shown, **key, "user": ROLE}), connect_timeout=5):
            return reader
    except psycopg.OperationalError:
        with database.connect():
            pass  # The server is up, so it refuses only the reader.
    raise ReaderError(
        f"the server does not let {ROLE} log in: as its owner run `alter role {ROLE} login password"
        " '...'`, and put that password into ~/.pgpass or PGPASSWORD"
    )


def open_psql(url: str) -> int | None:
    """Run psql on the terminal and return its exit code, or None if there is no psql."""
    program = shutil.which("psql") or _psql_of_wheel()
    if program is None:
        return None
    parts = read_url(url)
    # Passed in the environment, because everybody on the machine can read a process's arguments.
    values = {_VARIABLES[name]: value for name, value in parts.items() if name in _VARIABLES}
    with _keyboard_signals_left_to_child():
        environment = {**psql_environment(), **values}
        # No arguments, so nothing from a caller.
        return subprocess.run([program], env=environment, check=False).returncode  # noqa: S603


def _psql_of_wheel() -> str | None:
    try:
        from signal_pipeline.postgres.embedded import wheel_program
    except ModuleNotFoundError:  # The extra `embedded` is not installed.
        return None
    return wheel_program("psql")


@contextmanager
def _keyboard_signals_left_to_child() -> Iterator[None]:
    """Ignore the keyboard signals that a terminal sends to both processes.

    Ctrl-C cancels psql's query, and must not end psql's session together with this process.
    """
    before = {
        number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGQUIT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def url_lifetime(settings: Settings) -> str:
    """Return how long the reader's URL works, as a key of LIFETIMES."""
    if settings.database_url:
        return "with its server"
    from signal_pipeline.postgres.embedded import has_other_users

    return "with its users" if has_other_users(settings.home_path) else "with this command"
