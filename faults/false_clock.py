"""A clock that runs and can be moved, for all processes that inherit it, PostgreSQL included.

It is libfaketime (Debian's package `faketime`): all processes read their distance to the true time
from one file. Signal's code is unchanged: it asks the system's clock, and so do Dagster and
PostgreSQL.
"""

from __future__ import annotations

import os
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

from signal_pipeline.postgres.embedded import start_embedded, wheel_program
from signal_pipeline.postgres.embedded_folders import data_folder
from signal_pipeline.settings import load_settings

# Python's `time.sleep` waits for an instant of the monotonic clock, and the library cannot do that.
# So every process gets a `time.sleep` that waits with `select`.
SITE_CUSTOMIZE = """import select, time
time.sleep = lambda seconds: select.select([], [], [], seconds) and None
"""
MISSING = "libfaketime is missing (on Debian: apt-get install faketime)"


def library() -> Path | None:
    """Return the installed library, in its form for programs with threads, or None."""
    found = [
        path for path in Path("/usr/lib").glob("**/faketime/libfaketimeMT.so.1") if path.is_file()
    ]
    return found[0] if found else None


def environment(file: Path) -> dict[str, str]:
    """Return the variables that a process must inherit to follow the clock in `file`.

    Raises FileNotFoundError without the library.
    """
    found = library()
    if found is None:
        raise FileNotFoundError(MISSING)
    if not file.exists():
        file.write_text("+0\n")
    site = file.with_name(f"{file.name}-site")
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(SITE_CUSTOMIZE)
    return {
        "LD_PRELOAD": str(found),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "PYTHONPATH": str(site),
        # Waits and durations stay true. Each of the two names belongs to some versions of the
        # library.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


class FalseClock:
    """Moves the clock of this process, and with it the clock of all others."""

    def __init__(self) -> None:
        self._file = Path(os.environ["FAKETIME_TIMESTAMP_FILE"])
        self._ahead = int(self._file.read_text())

    def set(self, at: datetime) -> None:
        """Set the time to `at`, for all processes at once."""
        self._ahead += round(at.timestamp() - time.time())
        draft = self._file.with_suffix(".tmp")
        draft.write_text(f"{self._ahead:+d}\n")
        draft.rename(self._file)


def start_postgres() -> str:
    """Start the embedded server of this process's home on this process's clock; return its URL.

    Signal passes only few variables of its own environment to its server, and not those of this
    clock. So this function restarts the server with `pg_ctl`, which inherits all variables.
    """
    home = load_settings().home_path
    url, folder = start_embedded(home), data_folder(home)
    control, owner = wheel_program("pg_ctl"), folder.stat()
    assert control is not None
    options = ["-w", "-m", "fast", "-D", str(folder), "-l", str(folder / "log"), "restart"]
    identity = {"user": owner.st_uid, "group": owner.st_gid} if os.geteuid() == 0 else {}
    subprocess.run([control, *options], check=True, stdout=subprocess.DEVNULL, cwd="/", **identity)  # type: ignore[call-overload]
    return url


def utc(day_and_time: str) -> datetime:
    """Return a text such as `2026-11-28 00:30` as an instant in UTC."""
    return datetime.fromisoformat(day_and_time).replace(tzinfo=UTC)
