"""Where the embedded PostgreSQL keeps its data, and which folders it refuses before it starts."""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import time
from pathlib import Path

from signal_pipeline.errors import SignalError

ROOT_DATA = Path("/var/lib/signal-pipeline")
# The last four have a meaning within quotes of a shell, and `pg_ctl` and `initdb` use such quotes.
_UNUSABLE_LETTER = re.compile('[\0-\x1f\x7f\ud800-\udfff"$`\\\\]')


class EmbeddedError(SignalError):
    """The embedded server cannot be started; the text says why and what to do."""


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


def refuse_unusable_name(folder: Path) -> None:
    """Raise EmbeddedError for a folder that `initdb` or the server's command line cannot name."""
    if _UNUSABLE_LETTER.search(str(folder)) or _UNUSABLE_LETTER.search(str(folder.resolve())):
        raise EmbeddedError(
            'SIGNAL_HOME: PostgreSQL cannot use a folder whose name holds ", $, `, \\ or a control'
            " character, or is not UTF-8: choose another, or rename the folder while no process of"
            " Signal runs"
        )


def refuse_to_leave_data(home: Path, folder: Path) -> None:
    """Raise EmbeddedError if an older version left data where this one does not look for it."""
    older = home / "postgres"
    if folder != older and (older / "PG_VERSION").exists() and not folder.exists():
        raise EmbeddedError(
            f"the data in {older} would open {home} to others: stop every process that uses it,"
            f" then run: mkdir -p {folder.parent} && mv {older} {folder} && chmod 700 {home}"
        )


def set_aside_half_made(folder: Path) -> None:
    """Move away a folder whose initdb was killed: it never held an event.

    PostgreSQL writes `postmaster.opts` at its first start, so a folder that has it can hold events.
    """
    written_later = (folder / "signal.conf", folder / "postmaster.opts")
    if (folder / "PG_VERSION").exists() and not any(file.exists() for file in written_later):
        folder.rename(folder.with_name(f"{folder.name}.half-made-{time.time_ns()}"))
